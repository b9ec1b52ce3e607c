// Incidents and what a person does about them.

import { button, byId, el, setText } from './dom.js';
import { className, incidentClasses, percent, time } from './format.js';
import { act, done } from './session.js';
import { ask } from './dialog.js';

const shown = new Map(); // by ID

// ended are the phases of incidents that have ended.
const ended = ['resolved', 'dismissed'];

const text = (label, required) => ({ name: 'text', label, long: true, required, max: 2000 });
const classField = value => ({ name: 'class', label: 'Class', options: incidentClasses.map(c => [c, className(c)]), value });

// commands are the buttons of an incident: what is asked first, and when there is something to do.
const commands = [
	{ action: 'ack', name: 'Acknowledge', when: i => !i.acked_by },
	{ action: 'note', name: 'Note…', always: true, fields: () => [text('Note, not public', true)], ok: 'Add' },
	{ action: 'publish', name: 'Publish…', when: i => !i.published, fields: () => [text('Text for the status page; empty for the usual one')], ok: 'Publish' },
	{ action: 'hold', name: 'Hold', when: i => !i.published && !i.held },
	{ action: 'mitigate', name: 'Users are served…', when: i => ['detected', 'investigating'].includes(i.phase), fields: () => [text('Note')], ok: 'Users are served' },
	{ action: 'reclassify', name: 'Reclassify…', when: () => true, fields: i => [classField(i.class)], ok: 'Reclassify' },
	{
		action: 'false-alarm', name: 'False alarm…', when: () => true, fields: () => [text('Note')], ok: 'It was nothing', danger: true,
		warning: 'This says that nothing was wrong, to the public as well, and this traffic is learned as usual.',
	},
	{ action: 'resolve', name: 'Resolve…', when: () => true, fields: () => [text('Note')], ok: 'Resolve' },
];

// perform asks what a command needs, and sends it.
async function perform(command, incident) {
	let answer = {};
	if (command.fields) {
		answer = await ask({ title: `${command.name.replace('…', '')}: ${incident.id}`, text: command.warning, fields: command.fields(incident), ok: command.ok, danger: command.danger });
		if (!answer) return;
	}
	const what = `${command.name.replace('…', '')} ${incident.id}`;
	const result = await act(what, 'POST', '/v1/incidents', { action: command.action, incident: incident.id, ...answer });
	if (result) done(`${what}: done.`);
}

// report opens an incident that the detector does not see.
async function report() {
	const answer = await ask({ title: 'Report an incident', fields: [classField('attack'), text('What happens')], ok: 'Report' });
	if (!answer) return;
	const result = await act('Report an incident', 'POST', '/v1/incidents', { action: 'open', ...answer });
	if (result) done('Report an incident: done.');
}

// startIncidents wires the button to report one.
export function startIncidents() {
	byId('report-incident').addEventListener('click', report);
	byId('incident-list').append(el('p', { class: 'soft', id: 'no-incidents' }, 'None.'));
}

// showIncidents shows the incidents, the latest first. Only those that have changed are touched.
export function showIncidents(incidents) {
	const list = incidents || [];
	const gone = new Set(shown.keys());
	list.forEach((incident, i) => {
		gone.delete(incident.id);
		const article = shown.get(incident.id) || add(incident);
		const state = JSON.stringify(incident);
		if (article.state !== state) {
			article.state = state;
			article.update(incident);
		}
		if (byId('incident-list').children[i] !== article.node) byId('incident-list').insertBefore(article.node, byId('incident-list').children[i]);
	});
	for (const id of gone) {
		shown.get(id).node.remove();
		shown.delete(id);
	}
	byId('no-incidents').hidden = list.length > 0;
}

// add makes the article of an incident.
function add({ id }) {
	const article = { node: el('article', { class: 'incident', 'aria-labelledby': `incident-${id}` }) };
	const title = el('h3', { id: `incident-${id}` }), facts = el('p', { class: 'facts' }), events = el('ol', { class: 'events' });
	const summary = el('summary');
	const buttons = commands.map(command => [command, button(command.name, () => perform(command, article.incident), id)]);
	article.node.append(title, facts, el('p', { class: 'actions op' }, ...buttons.map(([, node]) => node)), el('details', {}, summary, events));
	article.update = incident => {
		article.incident = incident;
		const over = ended.includes(incident.phase);
		article.node.classList.toggle('over', over);
		setText(title, `${className(incident.class)}: ${incident.phase}`);
		setText(facts, describe(incident));
		for (const [command, node] of buttons) node.hidden = !(command.always || !over && command.when(incident));
		setText(summary, `${incident.events?.length || 0} events`);
		events.replaceChildren(...(incident.events || []).map(e => el('li', {}, line(e))));
	};
	shown.set(id, article);
	return article;
}

// describe says in one line what is known of an incident.
function describe(i) {
	const parts = [i.id, `since ${time(i.since)}`];
	if (time(i.ended)) parts.push(`ended ${time(i.ended)}`);
	else if (time(i.quiet)) parts.push(`quiet since ${time(i.quiet)}`);
	parts.push(i.acked_by ? `acknowledged by ${i.acked_by}` : 'not acknowledged');
	parts.push(time(i.published) ? `public since ${time(i.published)}` : i.held ? 'held back from the public' : 'not public');
	if (i.false) parts.push('false alarm');
	if (i.still?.length) parts.push(`closed while on: ${i.still.map(className).join(', ')}`);
	if (i.symptoms?.length) parts.push(`with ${i.symptoms.map(s => className(s.class)).join(', ')}`);
	if (i.peak?.excess) parts.push(`peak ${Math.round(i.peak.observed.logins)} logins a minute, ${percent(i.peak.served, 1)} of known users served`);
	return parts.join(' · ');
}

// line is one event in words.
function line(e) {
	return [time(e.time), e.kind, e.class && className(e.class), e.to, e.text, `by ${e.by}`].filter(Boolean).join(' · ');
}
