// The one dialog of the page. While it is open, the browser keeps the focus in it and gives it
// back afterwards.

import { byId, el, setText } from './dom.js';

// ask shows a question and returns what was filled in, or null if the person says no. A field
// is {name, label, required, max, long, options}: options, a list of [value, text], make it a
// choice.
export function ask({ title, text = '', fields = [], ok = 'OK', danger = false }) {
	const dialog = byId('dialog');
	if (dialog.open) return Promise.resolve(null);
	setText(byId('dialog-title'), title);
	setText(byId('dialog-text'), text);
	const inputs = fields.map(input);
	byId('dialog-fields').replaceChildren(...inputs.map((node, i) => el('label', {}, fields[i].label, node)));
	const yes = byId('dialog-ok'), no = byId('dialog-cancel');
	setText(yes, ok);
	yes.className = danger ? 'danger' : 'main';
	yes.value = 'ok';
	no.onclick = () => dialog.close('');
	dialog.returnValue = '';
	dialog.showModal();
	(inputs[0] || no).focus();
	return new Promise(resolve => {
		dialog.addEventListener('close', () => {
			resolve(dialog.returnValue === 'ok' ? Object.fromEntries(inputs.map(node => [node.name, node.value])) : null);
		}, { once: true });
	});
}

// input makes the control of a field.
function input({ name, required, max, long, options, value }) {
	const attributes = { name, required: Boolean(required), maxlength: max, autocomplete: 'off' };
	if (options) {
		return el('select', attributes, ...options.map(([v, text]) => el('option', { value: v, selected: v === value }, text)));
	}
	return long ? el('textarea', { ...attributes, rows: 4 }) : el('input', attributes);
}
