// Tables that are updated in place, each second, without moving what a person is about to
// press.

import { el, setText } from './dom.js';

// Table shows rows of data. A column is {title, value, kind, make}: value gives the text of a
// cell; kind is a class, such as num; make(row) returns a node for the cell instead, made
// once for each row, whose function update(data) is called with each change. row.data is
// always the latest.
export class Table {
	// name is the caption; titled hides it below a heading that says the same. key gives the
	// identity of a row; empty is the text without rows; limit is how many are shown until a
	// person asks for all; mark gives the class of a row. On a narrow screen each row is a
	// block, unless the table is small.
	constructor(name, columns, { key, empty = 'None.', limit = 0, mark = () => '', titled = false, small = false }) {
		Object.assign(this, { columns, key, limit, mark });
		this.rows = new Map();
		this.expanded = false;
		this.body = el('tbody', { role: 'rowgroup' });
		const head = columns.map(c => el('th', { scope: 'col', role: 'columnheader', class: c.kind }, c.title));
		this.table = el('table', { role: 'table' }, el('caption', { class: titled ? 'hidden' : undefined }, name),
			el('thead', { role: 'rowgroup' }, el('tr', { role: 'row' }, ...head)), this.body);
		this.empty = el('p', { class: 'soft' }, empty);
		this.more = el('button', { type: 'button', hidden: true, 'aria-expanded': 'false', onclick: () => this.toggle() });
		this.held = el('span', { class: 'soft', hidden: true }, 'The order stays while you are on the table.');
		this.node = el('div', { class: small ? 'table' : 'table cards' }, this.table, this.empty, el('p', { class: 'below' }, this.more, this.held));
	}

	// toggle shows all rows, or as many as the limit.
	toggle() {
		this.expanded = !this.expanded;
		this.more.setAttribute('aria-expanded', String(this.expanded));
		this.show(this.latest || []);
	}

	// isHeld reports whether the pointer or the keyboard focus is on a row. Rows do not move
	// then: a button must not become that of another row under the hand.
	isHeld() {
		const focus = document.activeElement;
		return this.body.matches(':hover') || this.body.contains(focus) && focus.matches(':focus-visible');
	}

	// update shows these rows, in this order.
	update(list) {
		this.latest = list;
		const held = this.rows.size > 0 && this.isHeld();
		this.held.hidden = !held;
		if (held) this.refresh(list);
		else this.show(list);
	}

	// refresh changes the cells of the rows that are shown, and nothing else.
	refresh(list) {
		const byKey = new Map(list.map(data => [this.key(data), data]));
		for (const [key, row] of this.rows) {
			const data = byKey.get(key);
			row.node.classList.toggle('gone', !data);
			if (data) this.fill(row, data);
		}
	}

	// show makes the rows of the table those of the list.
	show(list) {
		const shown = this.limit && !this.expanded ? list.slice(0, this.limit) : list;
		const gone = new Map(this.rows);
		let next = this.body.firstElementChild;
		for (const data of shown) {
			const key = this.key(data);
			const row = this.rows.get(key) || this.add(key, data);
			gone.delete(key);
			row.node.classList.remove('gone');
			this.fill(row, data);
			if (row.node === next) next = next.nextElementSibling;
			else this.body.insertBefore(row.node, next);
		}
		for (const [key, row] of gone) {
			this.rows.delete(key);
			row.node.remove();
		}
		this.table.hidden = shown.length === 0;
		this.empty.hidden = shown.length > 0;
		this.more.hidden = !this.limit || list.length <= this.limit;
		setText(this.more, this.expanded ? `Show ${this.limit}` : `Show all ${list.length}`);
	}

	// add makes a row.
	add(key, data) {
		const row = { data, cells: [], node: el('tr', { role: 'row' }) };
		this.columns.forEach((c, i) => {
			const cell = el(i === 0 ? 'th' : 'td', {
				scope: i === 0 ? 'row' : undefined, role: i === 0 ? 'rowheader' : 'cell', class: c.kind, 'data-title': c.title,
			});
			if (c.make) cell.append(c.make(row));
			row.cells.push(cell);
			row.node.append(cell);
		});
		this.rows.set(key, row);
		return row;
	}

	// fill shows data in a row. Rows that have not changed cost nothing.
	fill(row, data) {
		if (row.filled && same(row.data, data)) return;
		row.filled = true;
		row.data = data;
		const mark = this.mark(data);
		if (row.mark !== mark) {
			if (row.mark) row.node.classList.remove(row.mark);
			if (mark) row.node.classList.add(mark);
			row.mark = mark;
		}
		this.columns.forEach((c, i) => {
			const cell = row.cells[i];
			if (!c.make) setText(cell, c.value(data));
			else if (cell.firstChild.update) cell.firstChild.update(data);
		});
	}
}

// same reports whether two rows of data have the same values. Those that are objects differ.
function same(a, b) {
	const keys = Object.keys(b);
	return keys.length === Object.keys(a).length && keys.every(key => a[key] === b[key]);
}
