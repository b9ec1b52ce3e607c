// What a person can do about an address, a network or an account, with one press.

import { button, el } from './dom.js';
import { time } from './format.js';
import { act, done, isOperator } from './session.js';
import { ask } from './dialog.js';
import { explain } from './explain.js';

// some counts things.
const some = (n, one, many) => n === 1 ? `1 ${one}` : `${n} ${many}`;

// decide makes a decision and says what it did. A mode has no network.
export async function decide(request) {
	const names = { block: `Block ${request.network}`, allow: `Allow ${request.network}`, observe: 'Observe only', enforce: 'Enforce verdicts' };
	const what = names[request.kind];
	const result = await act(what, 'POST', '/v1/decisions', request);
	if (!result) return false;
	const { decision, replaced, closed, users, warning } = result;
	const parts = [time(decision.until) ? `until ${time(decision.until)}` : 'until a person ends it'];
	if (replaced) parts.push('the decision before is replaced');
	if (closed) parts.push(`${some(closed, 'connection', 'connections')} closed`);
	if (users) parts.push(`${some(users, 'known user', 'known users')} logged in from there within a day`);
	done(`${what}: ${parts.join('; ')}.${warning ? ` But ${warning}.` : ''}`, () => end(decision));
	return true;
}

// end ends a decision.
export async function end(decision) {
	const what = `End ${decision.kind} ${decision.network || ''}`.trim();
	if (await act(what, 'DELETE', `/v1/decisions/${encodeURIComponent(decision.id)}`)) done(`${what}: done.`);
}

// release forgets the denials of an address, a network or an account.
export async function release(of) {
	const result = await act(`Release ${of}`, 'POST', '/v1/release', { of });
	if (!result) return;
	const list = decisions => decisions.map(d => d.network).join(', ');
	const parts = [`${some(result.buckets, 'bucket', 'buckets')} filled again`];
	if (result.ended?.length) parts.push(`blocks ended: ${list(result.ended)}`);
	if (result.blocked?.length) parts.push(`still blocked by ${list(result.blocked)}`);
	done(`Release ${of}: ${parts.join('; ')}.`);
}

// forget forgets all that is known of an account, if the person is sure.
export async function forget(account) {
	const sure = await ask({
		title: `Forget ${account}`, ok: 'Forget', danger: true,
		text: 'Everything that is known of the account is forgotten, as after a theft of its password. Its devices are strangers until their next login.',
	});
	if (!sure) return;
	const result = await act(`Forget ${account}`, 'POST', '/v1/forget', { account });
	if (result) done(`Forget ${account}: ${result.known ? 'done' : 'it was not known'}.`);
}

// buttons returns the buttons for an address, network or account. An operator has all of them,
// a reader only the question.
export function buttons(name, isAccount, withExplain = true) {
	const node = el('span', { class: 'actions' });
	if (withExplain) node.append(button('Explain', () => explain(name), name));
	if (!isOperator()) return node;
	if (!isAccount) {
		node.append(button('Block 1 h', () => decide({ kind: 'block', network: name, for: '1h' }), name),
			button('Allow', () => decide({ kind: 'allow', network: name }), name));
	}
	node.append(button('Release', () => release(name), name));
	if (isAccount) node.append(button('Forget', () => forget(name), name));
	return node;
}

// actionColumn is the column of a table with the buttons of each row.
export const actionColumn = make => ({ title: 'Actions', kind: 'act', make: row => make(row) });
