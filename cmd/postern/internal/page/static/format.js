// Numbers, times and the words of the API as texts for people.

const number = new Intl.NumberFormat('en-GB', { useGrouping: true, maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const minutes = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const date = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });

// count formats a number of things.
export const count = n => number.format(n || 0);

// time formats a time of today to the second, and another with its date. Go's zero time is none.
export function time(text) {
	return format(text, clock);
}

// shortTime does so to the minute.
export function shortTime(text) {
	return format(text, minutes);
}

// formatted has what was formatted on this day, because most times are shown again each second.
let formatted = new Map(), day = '';

// formattedMax bounds it.
const formattedMax = 5000;

function format(text, today) {
	const now = new Date().toDateString();
	if (now !== day || formatted.size > formattedMax) [formatted, day] = [new Map(), now];
	const key = `${today === clock}${text}`;
	let known = formatted.get(key);
	if (known === undefined) {
		const t = new Date(text || NaN);
		if (isNaN(t) || t.getUTCFullYear() < 1970) known = '';
		else known = t.toDateString() === now ? today.format(t) : date.format(t);
		formatted.set(key, known);
	}
	return known;
}

// duration formats milliseconds with one unit, or two where that matters.
export function duration(ms) {
	const s = Math.max(0, Math.round(ms / 1000));
	if (s < 60) return `${s} s`;
	if (s < 3600) return `${Math.floor(s / 60)} min`;
	if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
	return `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
}

// waited formats nanoseconds that a client waited.
export function waited(ns) {
	if (!ns) return '';
	return ns < 1e9 ? `${Math.round(ns / 1e6)} ms` : `${(ns / 1e9).toFixed(1)} s`;
}

// percent formats a share in percent without ever rounding up to 100.
export function percent(part, whole) {
	if (part >= whole) return '100 %';
	return `${(Math.floor(1000 * part / whole) / 10).toFixed(1)} %`;
}

// until says when a decision ends.
export const until = text => time(text) || 'ended by a person';

// who says who made a decision, and where if gateways share theirs.
export const who = d => d.gateway ? `${d.by} at ${d.gateway}` : d.by;

// known says whether a client is a known user's.
export const known = k => k ? 'known' : '';

// capitalize makes the first letter a capital.
export const capitalize = text => text.charAt(0).toUpperCase() + text.slice(1);

// classes are the verdicts of the detector, which are also the classes of incidents.
export const classes = {
	normal: 'No attack', learning: 'No attack seen', growth: 'No attack: more logins', notice: 'Perhaps an attack',
	single_source: 'Few networks', impaired: 'Users not served', storm: 'Reconnect storm', backend_fault: 'Backend fault',
	account_abuse: 'Account abuse', slow_spray: 'Slow spraying', auth_fault: 'Passwords refused', attack: 'Attack',
};

// className names a class, also one that a newer gateway has.
export const className = c => classes[c] || c;

// needed is what a person can say that an incident is.
export const incidentClasses = ['attack', 'auth_fault', 'slow_spray', 'account_abuse', 'backend_fault', 'storm', 'impaired', 'single_source', 'notice', 'growth'];

// fold makes a search ignore case.
export const fold = text => String(text || '').toLowerCase();
