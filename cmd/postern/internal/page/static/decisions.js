// Decisions in force, and the forms that make them.

import { button, byId, once, setText } from './dom.js';
import { count, fold, time, until, who } from './format.js';
import { Table } from './table.js';
import { decide, end } from './actions.js';
import { failed, request } from './session.js';

// matchesMax is how many decisions are shown that match a search.
const matchesMax = 100;

let table;
let matches; // what is shown instead of the latest, after a search

// startDecisions makes the table and wires the forms.
export function startDecisions() {
	table = new Table('Decisions in force, the latest first', [
		{ title: 'Network', kind: 'name', value: row => row.network || 'all' }, { title: 'Action', value: row => row.kind },
		{ title: 'Made', kind: 'when', value: row => time(row.made) }, { title: 'Until', kind: 'when', value: row => until(row.until) },
		{ title: 'By', kind: 'free', value: who }, { title: 'Comment', kind: 'text', value: row => row.comment || '' },
		{ title: 'Actions', kind: 'act op', make: row => button('End', () => end(row.data), `${row.data.kind} ${row.data.network || ''}`) },
	], { key: row => row.id, limit: 10, titled: true });
	byId('decision-list').append(table.node);
	for (const id of ['decide', 'mode']) {
		byId(id).addEventListener('submit', event => {
			event.preventDefault();
			once(event.target, () => submit(event.target));
		});
	}
	byId('find').addEventListener('submit', event => {
		event.preventDefault();
		once(event.target, find);
	});
	byId('find-clear').addEventListener('click', clearSearch);
}

// submit makes the decision in a form.
async function submit(form) {
	const request = Object.fromEntries(new FormData(form));
	if (request.network) request.network = request.network.trim();
	if (!await decide(request)) return;
	for (const name of ['network', 'comment']) if (form.elements[name]) form.elements[name].value = '';
}

// find shows the decisions that match, out of all.
async function find() {
	const wanted = fold(new FormData(byId('find')).get('text')).trim();
	let all;
	try {
		all = await request('GET', '/v1/decisions') || [];
	} catch (err) {
		failed('Search decisions', err);
		return;
	}
	const found = all.filter(d => [d.network, d.by, d.gateway, d.comment, d.kind, d.id].some(text => fold(text).includes(wanted)));
	matches = found.slice(0, matchesMax);
	table.expanded = true;
	table.show(matches);
	byId('find-clear').hidden = false;
	setText(byId('found'), `${count(found.length)} of ${count(all.length)} match at ${time(Date.now())}${found.length > matchesMax ? `; the latest ${matchesMax} are shown` : ''}.`);
}

// clearSearch shows the latest again.
export function clearSearch() {
	matches = undefined;
	table.expanded = false;
	byId('find-clear').hidden = true;
	setText(byId('found'), '');
	table.show([]);
}

// showDecisions shows the latest decisions, unless there was a search.
export function showDecisions(detail) {
	setText(byId('decided'), detail ? count(detail.decided) : '');
	if (!matches) table.update(detail?.decisions || []);
}
