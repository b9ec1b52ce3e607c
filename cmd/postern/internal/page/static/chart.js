// Logins a second as two charts, and the same in a table.

import uPlot from '/page/vendor/uplot/uPlot.esm.js';
import { byId, el, setText } from './dom.js';
import { count } from './format.js';
import { Table } from './table.js';

// outcomes are the series, the lowest of each stack first.
const outcomes = [
	{ key: 'known', name: 'Accepted, known users', chart: 'accepted' },
	{ key: 'stranger', name: 'Accepted, others', chart: 'accepted' },
	{ key: 'denied', name: 'Denied by a backend', chart: 'others' },
	{ key: 'repeat', name: 'Answered as repeats', chart: 'others' },
	{ key: 'refused', name: 'Refused by postern', chart: 'others' },
	{ key: 'void', name: 'Without an answer', chart: 'others' },
];

// span is how many seconds are shown; calmEvery how often, in seconds, for those who want less
// motion.
const span = 300;
const calmEvery = 5;

const sync = uPlot.sync('logins');
const calmMotion = matchMedia('(prefers-reduced-motion: reduce)');
const dark = matchMedia('(prefers-color-scheme: dark)');

// Chart stacks some of the outcomes.
class Chart {
	constructor(name, label) {
		this.series = outcomes.filter(o => o.chart === name);
		this.node = byId(`chart-${name}`);
		this.node.setAttribute('role', 'img');
		this.node.setAttribute('aria-label', `${label} in the last 5 minutes. The table has the figures.`);
		this.data = [[], ...this.series.map(() => [])];
		this.make();
		new ResizeObserver(() => this.plot.setSize(this.size())).observe(this.node);
		dark.addEventListener('change', () => this.make());
	}

	size() {
		return { width: Math.max(160, this.node.clientWidth), height: 170 };
	}

	// make makes the plot, with the colours of the present scheme.
	make() {
		this.plot?.destroy();
		const style = getComputedStyle(document.documentElement);
		const color = name => style.getPropertyValue(`--${name}`).trim();
		const axis = { stroke: color('soft'), grid: { stroke: color('line'), width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
		this.plot = new uPlot({
			...this.size(),
			legend: { show: false },
			cursor: { sync: { key: sync.key }, y: false, points: { show: false }, drag: { x: false, y: false } },
			scales: { x: { time: true, range: (_, __, max) => [max - span + 1, max] }, y: { range: (_, __, max) => [0, Math.max(5, max * 1.1)] } },
			axes: [
				{ ...axis, size: 22, gap: 4, space: 50, values: '{HH}:{mm}' },
				{ ...axis, size: 44, gap: 4, values: (_, values) => values.map(v => Number.isInteger(v) ? count(v) : '') },
			],
			// The top of the stack is drawn first, and each lower part over it.
			series: [{}, ...this.series.toReversed().map(o => ({ fill: color(o.key), stroke: color(o.key), width: 1, points: { show: false } }))],
			hooks: { setCursor: [plot => showCursor(plot.cursor.idx)] },
		}, this.data, this.node);
	}

	// show shows seconds, without those that are missing.
	show(times, bySecond) {
		let below = times.map(() => 0);
		const stacks = this.series.map(o => {
			below = times.map((t, i) => bySecond.has(t) ? below[i] + bySecond.get(t)[o.key] : null);
			return below;
		});
		this.data = [times, ...stacks.toReversed()];
		this.plot.setData(this.data);
	}
}

let charts, table, times = [], bySecond = new Map(), cursor, drawn = 0;

// startCharts makes the charts and the table.
export function startCharts() {
	charts = [new Chart('accepted', 'Accepted logins a second'), new Chart('others', 'Other logins a second')];
	const rate = title => ({ title, kind: 'num', value: row => row[title] });
	table = new Table('Logins a second by outcome', [
		{ title: 'Outcome', kind: 'name', make: row => el('span', { class: `swatch ${row.data.key}` }, row.data.name) },
		rate('Now'), rate('1 min'), rate('5 min'), rate('Peak'),
	], { key: row => row.key, titled: true, small: true });
	byId('outcomes').append(table.node);
	table.at = el('p', { class: 'soft at' });
	table.node.append(table.at);
}

// showSeries shows the seconds of the last five minutes.
export function showSeries(series) {
	bySecond = new Map(series.map(second => [second.t, second]));
	const last = series.at(-1)?.t || 0;
	times = last ? Array.from({ length: span }, (_, i) => last - span + 1 + i) : [];
	if (!calmMotion.matches || last - drawn >= calmEvery || last < drawn) {
		drawn = last;
		charts.forEach(chart => chart.show(times, bySecond));
	}
	table.update(outcomes.map(({ key, name }) => ({
		key, name, Now: count(bySecond.get(last)?.[key]), '1 min': mean(key, series, last - 60), '5 min': mean(key, series, last - span),
		Peak: count(series.reduce((max, second) => Math.max(max, second[key]), 0)),
	})));
	showCursor(cursor);
}

// mean is the mean of an outcome over the seconds after t that are there.
function mean(key, series, t) {
	const seconds = series.filter(second => second.t > t);
	const sum = seconds.reduce((total, second) => total + second[key], 0);
	const value = seconds.length ? sum / seconds.length : 0;
	return value > 0 && value < 10 ? value.toFixed(1) : count(value);
}

// showCursor says in words what is under the pointer.
function showCursor(index) {
	cursor = index;
	const second = bySecond.get(times[index]);
	setText(table.at, second
		? `${new Date(1000 * second.t).toLocaleTimeString('en-GB')}: ${outcomes.map(o => `${count(second[o.key])} ${short[o.key]}`).join(', ')}`
		: '');
}

// short are the outcomes in a line of text.
const short = { known: 'known', stranger: 'others accepted', denied: 'denied', repeat: 'repeats', refused: 'refused', void: 'without an answer' };
