// The answer to the question why a client was refused.

import { byId, el, once } from './dom.js';
import { time, who } from './format.js';
import { Problem, failed, request } from './session.js';
import { buttons } from './actions.js';

let asked = 0; // the number of the latest question

// explain asks about a session's ID, an address, a network or an account, and shows the answer.
export async function explain(about) {
	const number = ++asked;
	byId('about').value = about;
	let answer;
	try {
		answer = await request('GET', `/v1/explain?about=${encodeURIComponent(about)}`);
		if (!answer?.summary) throw new Problem('the answer has no summary');
	} catch (err) {
		if (number === asked) failed(`Explain ${about}`, err);
		return;
	}
	if (number !== asked) return;
	const title = el('h3', { id: 'answer-title', tabindex: '-1' }, `${kinds[answer.subject] || answer.subject} ${answer.about}`);
	const close = el('button', { type: 'button', class: 'close', onclick: clearAnswer }, 'Close answer');
	byId('answer').replaceChildren(title, close, el('p', { class: 'sentence' }, answer.summary), subjectActions(answer), ...facts(answer.facts || []),
		...advice(answer.advice || []), ...events(answer.events || []), ...decisions(answer.decisions || []),
		el('p', { class: 'soft' }, `As of ${time(answer.time)}.`));
	byId('answer').hidden = false;
	title.focus();
	byId('answer').scrollIntoView({ block: 'nearest' });
}

const kinds = { session: 'Session', source: 'Source', network: 'Network', account: 'Account' };

// subjectActions returns the buttons for what the answer is about. A session has those of its
// client and of its account.
function subjectActions({ subject, about, events }) {
	const node = el('div', { class: 'subject' });
	const add = (name, isAccount) => {
		const actions = buttons(name, isAccount, name !== about);
		if (name && actions.children.length) node.append(el('p', {}, el('span', { class: 'id' }, name), ' ', actions));
	};
	if (subject === 'session') {
		const latest = events?.[0];
		if (latest) {
			add(latest.addr, false);
			if (latest.account) add(latest.account, true);
		}
	} else {
		add(about, subject === 'account');
	}
	return node;
}

// facts are grouped by their headings, in the order of their first ones.
function facts(list) {
	const groups = Map.groupBy(list, fact => fact.heading);
	return [...groups].flatMap(([heading, group]) => [el('h4', {}, heading), el('ul', {}, ...group.map(fact => el('li', {}, fact.text)))]);
}

function advice(list) {
	if (list.length === 0) return [];
	return [el('h4', {}, 'What to do'), el('ol', {}, ...list.map(({ text, command }) => el('li', {}, text, ...command ? [' ', el('code', {}, command)] : [])))];
}

function events(list) {
	if (list.length === 0) return [];
	const line = e => [time(e.time), e.session, e.listener, e.addr, e.account, e.result, e.rule && `rule ${e.rule}`, e.why, e.error].filter(Boolean).join(' · ');
	return [el('h4', {}, 'Events, the latest first'), el('ul', {}, ...list.slice(0, 20).map(e => el('li', {}, line(e))))];
}

function decisions(list) {
	if (list.length === 0) return [];
	const line = d => `${d.kind} ${d.network || ''} by ${who(d)}${d.comment ? `: ${d.comment}` : ''}, until ${time(d.until) || 'ended'}`;
	return [el('h4', {}, 'Decisions in force'), el('ul', {}, ...list.map(d => el('li', {}, line(d))))];
}

// clearAnswer removes the answer.
export function clearAnswer() {
	asked++;
	const focused = byId('answer').contains(document.activeElement);
	byId('answer').replaceChildren();
	byId('answer').hidden = true;
	if (focused) byId('about').focus();
}

// startExplain wires the question.
export function startExplain() {
	byId('ask').addEventListener('submit', event => {
		event.preventDefault();
		once(event.target, () => explain(byId('about').value.trim()));
	});
}
