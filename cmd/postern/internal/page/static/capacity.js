// Lanes, queues and tables, backends, listeners, generations, and gateways.

import { bar, byId, el, setText } from './dom.js';
import { count, duration, percent, time } from './format.js';
import { Table } from './table.js';

let places, backends, listeners, generations, gateways;

// num is a column of numbers.
const num = (title, value) => ({ title, kind: 'num', value: row => count(value(row)) });

// of is a column that shows a number, its bound if it has one, and a bar.
function of(title, value) {
	return {
		title, kind: 'of',
		make() {
			const text = el('span', { class: 'num' }), line = bar();
			const node = el('span', { class: 'of' }, text, line);
			node.update = data => {
				const { now, max } = value(data);
				setText(text, max ? `${count(now)} / ${count(max)}` : count(now));
				line.show(max ? now / max : undefined);
			};
			return node;
		},
	};
}

// startCapacity makes the tables.
export function startCapacity() {
	places = new Table('Lanes, queues and tables', [
		{ title: 'What', kind: 'name', value: row => row.name }, of('In use', row => row),
	], { key: row => row.name, small: true });
	backends = new Table('Backends', [
		{ title: 'Backend', kind: 'name', value: row => row.addr }, { title: 'Protocol', value: row => row.protocol },
		{ title: 'State', kind: 'text', value: row => row.up ? '✓ up' : `✕ down${row.error ? `: ${row.error}` : ''}` },
		of('Logins in flight', row => row.logins), num('Sessions', row => row.sessions),
	], { key: row => `${row.protocol} ${row.addr}`, mark: row => row.up ? '' : 'bad' });
	listeners = new Table('Listeners', [
		{ title: 'Listener', kind: 'name', value: row => row.name }, { title: 'Address', kind: 'text', value: row => row.addr },
		num('Connections', row => row.open), num('Attempts a minute', row => row.rate),
		{ title: 'PROXY', value: row => row.proxy ? 'from some networks' : 'no' },
	], { key: row => `${row.name} ${row.addr}` });
	generations = new Table('Sessions and generations', [
		{ title: 'Generation', kind: 'num', value: row => row.number }, num('Sessions', row => row.sessions), num('Before login', row => row.prelogin),
		{ title: 'Started', value: row => time(row.since) }, { title: 'Role', kind: 'text', value: row => time(row.until) ? `drains until ${time(row.until)}` : 'accepts' },
		{ title: 'Version', kind: 'text', value: row => row.version },
	], { key: row => row.number });
	gateways = new Table('Gateways that count together', [
		{ title: 'Gateway', kind: 'name', value: row => row.name }, { title: 'Mode', value: row => row.mode },
		{ title: 'Seen', value: row => row.own ? 'this one' : `${duration(1000 * row.seen_ago)} ago` },
		{ title: 'Role', kind: 'text', value: row => row.leads ? 'alerts people' : '' }, { title: 'Version', kind: 'text', value: row => row.version },
	], { key: row => row.name + (row.own ? ' own' : ''), mark: row => row.mode === 'alone' ? 'bad' : '' });
	for (const [id, table] of Object.entries({ places, backends, listeners, generations, gateways })) byId(id).append(table.node);
}

// showCapacity shows a view in them.
export function showCapacity({ lanes, tarpit, tables, state, ...view }) {
	const row = (name, now, max = 0) => ({ name, now, max });
	places.update([
		...lanes.size ? [row('Login tokens in use', lanes.size - Math.floor(lanes.left), lanes.size), row('Login tokens reserved for known users', lanes.reserved, lanes.size)] : [],
		row('Known users that wait for a token', lanes.known_wait), row('Strangers that wait for a token', lanes.strangers_wait),
		row('Known users that wait for a backend', lanes.known_slots), row('Strangers that wait for a backend', lanes.stranger_slots),
		row('Attempts in the tarpit', tarpit.now, tarpit.max), row('Connections', state.connections, state.max_connections),
		row('Buckets', tables.buckets, tables.max), row('Known accounts', tables.known),
	]);
	backends.update(view.backends || []);
	listeners.update(view.listeners || []);
	generations.update(state.generations || []);
	showGateways(state.sharing);
}

// showGateways shows the other gateways, if this one shares with any.
function showGateways(sharing) {
	byId('sharing').hidden = !sharing;
	if (!sharing) return;
	gateways.update(sharing.members || []);
	const receipt = sharing.receipt_age > 0 ? `, last receipt ${duration(1000 * sharing.receipt_age)} ago` : '';
	const lost = sharing.lost.records ? `; ${count(sharing.lost.records)} records lost` : '';
	setText(byId('sharing-more'), `Mode: ${sharing.mode}, through ${sharing.engine}${receipt}; ${percent(sharing.global_part, 1)} of LIMIT_GLOBAL is for this one${lost}.`
		+ (sharing.last_error ? ` Last error: ${sharing.last_error}.` : ''));
}
