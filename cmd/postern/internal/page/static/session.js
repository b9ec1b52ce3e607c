// Who is logged in, requests to the API, and what is said about their results.

import { byId, el, button, once, setText } from './dom.js';
import { ask } from './dialog.js';

// patience is how long a request may take, in milliseconds.
const patience = 30000;

// messagesMax is how many messages are shown at once.
const messagesMax = 3;

// session is the answer of /page/session.
export const session = { role: 'none', csrf: '', socket: false };

const changed = new Set();

// onSession calls f whenever the role may have changed.
export const onSession = f => changed.add(f);

// Problem is an answer that is not a success, or none at all.
export class Problem extends Error {
	constructor(detail, status = 0, more = {}) {
		super(detail);
		this.status = status;
		this.needsForce = more.needs_force === true;
	}
}

// request sends a request and returns the JSON of its answer, if there is any.
export async function request(method, path, body) {
	const headers = {};
	if (body !== undefined) headers['Content-Type'] = 'application/json';
	if (method !== 'GET' && session.csrf) headers['X-CSRF-Token'] = session.csrf;
	let response, text;
	try {
		response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal: AbortSignal.timeout(patience) });
		text = await response.text();
	} catch (err) {
		throw new Problem(err.name === 'TimeoutError' ? `the gateway did not answer within ${patience / 1000} s` : 'the gateway cannot be reached');
	}
	let answer;
	try {
		answer = text ? JSON.parse(text) : undefined;
	} catch {
		answer = undefined;
	}
	if (response.ok) return answer;
	const { detail, title } = answer || {};
	throw new Problem(detail || title || text.trim().slice(0, 300) || `the gateway answered ${response.status}`, response.status, answer || {});
}

let asked = 0; // how often the role was asked for

// refresh asks for the role again. It returns false if there is no answer. An answer that comes
// after the question was asked again is out of date, as one from before a login.
export async function refresh() {
	const question = ++asked;
	let answer;
	try {
		answer = await request('GET', '/page/session');
	} catch {
		return false;
	}
	if (question !== asked) return true;
	const before = session.role;
	Object.assign(session, { role: 'none', csrf: '', socket: false }, answer);
	show();
	if (before !== session.role) changed.forEach(f => f());
	return true;
}

// show shows the role and what belongs to it.
function show() {
	document.body.dataset.role = session.role;
	byId('login').hidden = session.role !== 'none';
	byId('logout').hidden = session.role === 'none' || session.socket;
	const roles = { operator: 'Operator', reader: 'Reader: no actions', none: 'Not logged in: no names' };
	setText(byId('role'), (roles[session.role] || session.role) + (session.socket ? ' (socket)' : ''));
}

// isOperator reports whether actions are permitted.
export const isOperator = () => session.role === 'operator';

// done says that something was done. undo is what takes it back, if anything does.
export function done(text, undo) {
	const shown = message(byId('done'), text);
	if (undo) shown.prepend(button('Undo', async () => { shown.remove(); await undo(); }));
}

// failed says why something was not done.
export function failed(what, err) {
	message(byId('failed'), `${what}: ${err.message}`);
}

// message shows a text until it is dismissed or there are too many.
function message(region, text) {
	const node = el('div', { class: 'message' });
	node.append(el('p', {}, text), button('Dismiss', () => node.remove()));
	region.append(node);
	while (region.children.length > messagesMax) region.firstChild.remove();
	return node;
}

// by returns the name of the person, and asks for it the first time; '' if there is none.
async function by() {
	const field = byId('by');
	if (field.value.trim()) return field.value.trim();
	const answer = await ask({
		title: 'Who are you?', text: 'Your name is recorded with everything that you do. This browser remembers it.', ok: 'Continue',
		fields: [{ name: 'by', label: 'Your name', required: true, max: 64 }],
	});
	if (!answer || !answer.by.trim()) return '';
	field.value = answer.by.trim();
	remember();
	return field.value;
}

// remember keeps the name in this browser.
function remember() {
	try {
		localStorage.setItem('postern-by', byId('by').value.trim());
	} catch { /* storage is forbidden here */ }
}

// act sends an action with the name of the person. If the gateway answers that it needs force,
// it shows why and asks. It returns the answer, or undefined if nothing was done; the person
// has been told why then.
export async function act(what, method, path, body = {}) {
	const name = await by();
	if (!name) return undefined;
	const send = extra => method === 'DELETE'
		? request(method, `${path}?by=${encodeURIComponent(name)}`)
		: request(method, path, { ...body, by: name, ...extra });
	try {
		try {
			return await send({}) ?? {};
		} catch (err) {
			if (!err.needsForce) throw err;
			const answer = await ask({ title: `${what}: are you sure?`, text: `${err.message}.`, ok: 'Do it all the same', danger: true });
			return answer ? await send({ force: true }) ?? {} : undefined;
		}
	} catch (err) {
		failed(what, err);
		if (err.status === 401 || err.status === 403) await refresh();
		return undefined;
	}
}

// start shows the session and wires the forms of login, logout and name.
export function start() {
	try {
		byId('by').value = localStorage.getItem('postern-by') || '';
	} catch { /* storage is forbidden here */ }
	byId('by').addEventListener('change', remember);
	byId('login').addEventListener('submit', event => {
		event.preventDefault();
		once(event.target, () => login(byId('token')));
	});
	byId('logout').addEventListener('click', () => once(byId('logout'), async () => {
		try {
			await request('POST', '/page/logout', {});
		} catch (err) {
			failed('Log out', err);
		}
		await refresh();
	}));
}

// login sends the token in the field.
async function login(field) {
	const token = field.value.trim();
	try {
		await request('POST', '/page/login', { token });
	} catch (err) {
		failed('Log in', err);
		field.select();
		return;
	}
	field.value = '';
	byId('failed').replaceChildren();
	await refresh();
}
