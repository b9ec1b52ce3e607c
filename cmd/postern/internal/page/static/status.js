// What is seen in one glance: is it all right, are known users served, is there an attack, and
// what is being done about it.

import { byId, setClass, setList, setText } from './dom.js';
import { capitalize, className, count, duration, percent, shortTime, time } from './format.js';

// words say how severe a level is. Neither colour nor symbol says it alone.
const words = { OK: ['✓', 'OK', 'All is well'], WARNING: ['▲', 'Warning', 'Attention'], CRITICAL: ['✕', 'Critical', 'Act now'] };

let latest; // the latest view
let announced = ''; // what screen readers were last told, without its figures

// showStatus shows a new view.
export function showStatus(view) {
	latest = view;
	setText(byId('host'), view.host);
	setText(byId('version'), view.version);
	showKnown(view.state.known);
	showAttack(view.state, view.time);
	showIncident(view);
	setList(byId('doing'), doing(view));
	showMode(view.mode);
}

// showLive shows the sentence, with how live it is. Without live data it never says that all
// is well.
export function showLive({ state, age }) {
	document.body.dataset.live = state;
	const live = state === 'live';
	const when = latest ? `State of ${time(latest.time)}, ${duration(age || 0)} ago` : 'No state has arrived';
	if (live) {
		const [symbol, word, advice] = words[latest.level] || ['?', latest.level, 'Unknown level'];
		setClass(byId('status'), `status ${latest.level.toLowerCase()}`);
		setText(byId('status-word'), `${symbol} ${word}`);
		setText(byId('status-text'), `${advice}: ${latest.text}.`);
		setText(byId('live'), `Live ${time(latest.time)}`);
		document.title = `${word}: ${latest.host} – postern`;
	} else {
		const [word, text] = {
			connecting: ['… Connecting', 'Connecting to the gateway.'],
			lost: ['⚠ Not live', 'Connection to the gateway lost. Connecting again.'],
			paused: ['⏸ Paused', 'Paused because this page is hidden.'],
		}[state];
		setClass(byId('status'), 'status unknown');
		setText(byId('status-word'), word);
		setText(byId('status-text'), `${text} ${when}.${latest ? ' What is below may have changed.' : ''}`);
		setText(byId('live'), latest ? `Not live: ${duration(age || 0)} old` : 'Not live');
		document.title = `Not live: ${latest ? latest.host : 'postern'} – postern`;
	}
	announce(live ? [latest.level, latest.state.verdict, latest.state.incident?.id, latest.state.incident?.stage, latest.mode.observe].join() : state);
}

// announce tells screen readers the sentence when something other than its figures has changed.
function announce(key) {
	if (key === announced) return;
	announced = key;
	setText(byId('announce'), `${byId('status-word').textContent}. ${byId('status-text').textContent}`);
}

// showKnown shows how known users are served.
function showKnown(known) {
	const served = known.good + known.slow, all = served + known.limited + known.failed;
	setText(byId('served'), all ? percent(served, all) : 'No logins');
	setClass(byId('served'), `big ${!all || served / all >= 0.99 ? '' : served / all >= 0.95 ? 'warning' : 'critical'}`);
	setText(byId('served-more'), all
		? `${count(served)} of ${count(all)} logins in 5 min; ${count(known.slow)} slow, ${count(known.limited)} refused, ${count(known.failed)} failed`
		: 'by known users in 5 min');
}

// calm are the verdicts that ask for nothing.
const calm = ['normal', 'learning', 'growth'];

// showAttack shows the verdict of the detector.
function showAttack(state, now) {
	setText(byId('attack'), className(state.verdict));
	setClass(byId('attack'), `big ${calm.includes(state.verdict) ? '' : 'warning'}`);
	const since = `since ${shortTime(state.since)} (${duration(new Date(now) - new Date(state.since))})`;
	const learned = state.learned < 1 ? `, ${Math.floor(100 * state.learned)} % of the usual traffic learned` : '';
	const excess = state.excess > 0 ? `, excess ${Math.round(100 * state.excess)} % of a busy hour` : '';
	setText(byId('attack-more'), since + excess + learned);
}

// showIncident shows the open incident.
function showIncident({ state, detail }) {
	const i = state.incident;
	setText(byId('incident-now'), i ? `${className(i.class)}, ${i.stage}` : 'None open');
	setClass(byId('incident-now'), `big ${i && i.stage !== 'suspected' && i.stage !== 'monitoring' ? 'warning' : ''}`);
	const by = i && detail?.incidents?.find(other => other.id === i.id)?.acked_by;
	setText(byId('incident-more'), i
		? `${i.id}, since ${shortTime(i.since)}, ${i.acknowledged ? `acknowledged${by ? ` by ${by}` : ''}` : 'not acknowledged'}`
		: '');
}

// doing lists what the gateway does about the traffic.
function doing({ mode, tight, lanes, tarpit, state, detail }) {
	const list = [mode.observe ? 'Observing only: nothing is refused' : 'Verdicts are enforced'];
	list.push(tight ? 'Limits for strangers are tightened' : 'Usual limits for strangers');
	list.push(lanes.size
		? `${count(lanes.reserved)} of ${count(lanes.left)} login tokens left are reserved for known users`
		: 'No limit on all logins together');
	const known = lanes.known_wait + lanes.known_slots, strangers = lanes.strangers_wait + lanes.stranger_slots;
	list.push(known + strangers + tarpit.now
		? `Waiting: ${count(known)} known, ${count(strangers)} strangers; ${count(tarpit.now)} in the tarpit`
		: 'Nobody waits');
	const sharing = state.sharing && {
		shared: `Counts together with ${count(state.sharing.members.length - 1)} other ${state.sharing.members.length === 2 ? 'gateway' : 'gateways'}`, joining: 'Joins the other gateways', alone: 'Counts alone: other gateways cannot be reached',
	}[state.sharing.mode];
	if (sharing) list.push(sharing);
	if (detail) list.push(detail.decided === 1 ? '1 decision in force' : `${count(detail.decided)} decisions in force`);
	if (detail?.listed) list.push(detail.listed === 1 ? '1 source is listed for firewalls' : `${count(detail.listed)} sources are listed for firewalls`);
	return list;
}

// showMode says when verdicts are not enforced as the settings say.
function showMode(mode) {
	const differs = mode.observe !== mode.setting;
	const until = differs && time(mode.until) ? ` until ${time(mode.until)}` : '';
	const by = differs && mode.by ? `, by ${mode.by}` : '';
	const text = mode.observe ? 'verdicts are reported, and nothing is refused' : 'verdicts are enforced, although the settings only observe';
	byId('notice').hidden = !mode.observe && !differs;
	setText(byId('notice'), capitalize(`${text}${until}${by}.`));
	setText(byId('mode-now'), `now ${mode.observe ? 'observed' : 'enforced'}${until}${by}`);
}
