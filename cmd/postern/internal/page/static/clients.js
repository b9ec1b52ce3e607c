// Who is not simply accepted: top sources, networks and accounts, and recent refusals.

import { button, byId, setText } from './dom.js';
import { count, duration, known, time, waited } from './format.js';
import { Table } from './table.js';
import { actionColumn, buttons } from './actions.js';
import { explain } from './explain.js';

// rowsShown is how many rows of a table are shown until a person asks for all.
const rowsShown = 8;

const tops = {};
let refusals;

// top makes the table of sources, networks or accounts. others says what is counted in Others.
function top(id, title, one, others) {
	const num = (head, key) => ({ title: head, kind: 'num', value: row => count(row[key]) });
	tops[id] = new Table(title, [
		{ title: one, kind: id === 'accounts' ? 'name free' : 'name', value: row => row.name },
		{ title: 'Known', kind: 'known', value: row => known(row.known) },
		num('Attempts', 'attempts'), num('Accepted', 'accepted'), num('Denied', 'denied'), num('Refused', 'refused'), num('Delayed', 'waited'), num(others, 'others'),
		{ title: 'Rule', kind: 'rule', value: row => row.rule }, { title: 'First', kind: 'when', value: row => time(row.first) }, { title: 'Last', kind: 'when', value: row => time(row.last) },
		actionColumn(row => buttons(row.data.name, id === 'accounts')),
	], { key: row => row.name, limit: rowsShown });
	byId(id).append(tops[id].node);
}

// startClients makes the tables.
export function startClients() {
	top('sources', 'Top sources', 'Source', 'Accounts');
	top('networks', 'Top networks', 'Network', 'Accounts');
	top('accounts', 'Top accounts', 'Account', 'Networks');
	refusals = new Table('Recent refusals, the latest first', [
		{
			title: 'ID', kind: 'name',
			make: row => button(row.data.session || '–', () => explain(row.data.session || row.data.addr), 'explain'),
		},
		{ title: 'Time', kind: 'when', value: row => time(row.time) },
		{ title: 'Listener', value: row => row.listener },
		{ title: 'Address', value: row => row.addr }, { title: 'Account', kind: 'free', value: row => row.account || '' },
		{ title: 'Known', kind: 'known', value: row => known(row.known) },
		{ title: 'Rule', value: row => row.rule },
		{ title: 'Result', value: row => row.result + (row.enforced ? '' : ' (observed)') },
		{ title: 'Waited', kind: 'num', value: row => waited(row.waited) },
		{ title: 'Reason', kind: 'text', value: row => [row.why, row.error].filter(Boolean).join('; ') },
		actionColumn(row => buttons(row.data.addr, false, false)),
	], { key: row => [row.session, row.time, row.account, row.attempt].join(), limit: rowsShown, titled: true });
	byId('refusal-list').append(refusals.node);
}

// showClients shows the names in a view, or none without detail.
export function showClients(detail) {
	const found = detail?.top || {};
	setText(byId('window'), found.window ? `denied, delayed or refused in the last ${duration(found.window / 1e6)}` : '');
	for (const [id, table] of Object.entries(tops)) table.update(found[id] || []);
	refusals.update(detail?.refusals || []);
}

// clearClients removes all names at once, also those under the pointer.
export function clearClients() {
	for (const table of [...Object.values(tops), refusals]) table.show([]);
}
