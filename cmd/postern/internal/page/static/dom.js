// Building and updating the document. Text from the gateway or from clients enters it here
// only, as text nodes and attributes, never as HTML.

// hiddenCharacters do not show, or change the direction of what is beside them.
const hiddenCharacters = /[^\P{C}\n\t]/gu;

// visible replaces them by their numbers, so that a name cannot look like another.
export const visible = text => String(text).replace(hiddenCharacters, c => `‹U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}›`);

// byId returns the element with this ID.
export const byId = id => document.getElementById(id);

// el makes an element. Attributes whose name begins with "on" are listeners; false and
// undefined ones are left out. Children are nodes or texts.
export function el(tag, attributes = {}, ...children) {
	const node = document.createElement(tag);
	for (const [name, value] of Object.entries(attributes)) {
		if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
		else if (value === true) node.setAttribute(name, '');
		else if (value !== false && value !== undefined) node.setAttribute(name, visible(value));
	}
	node.append(...children.map(child => child instanceof Node ? child : visible(child)));
	return node;
}

// shown has the text that setText gave to each node.
const shown = new WeakMap();

// setText changes the text of a node only if it differs, so that nothing is laid out again
// in vain.
export function setText(node, text) {
	text = String(text);
	if (shown.get(node) === text) return;
	shown.set(node, text);
	text = visible(text);
	const only = node.firstChild;
	if (only && !only.nextSibling && only.nodeType === Node.TEXT_NODE) {
		if (only.data !== text) only.data = text;
	} else if (only || text !== '') {
		node.textContent = text;
	}
}

// setClass does the same for the class.
export function setClass(node, name) {
	if (node.className !== name) node.className = name;
}

// setList makes the items of a list these texts.
export function setList(list, texts) {
	while (list.children.length > texts.length) list.lastChild.remove();
	while (list.children.length < texts.length) list.append(el('li'));
	texts.forEach((text, i) => setText(list.children[i], text));
}

// bar returns a bar whose function show shows a share, or nothing if that is undefined. Its
// number must be beside it as text.
export function bar() {
	const fill = el('span');
	const node = el('span', { class: 'bar', 'aria-hidden': 'true' }, fill);
	node.show = share => {
		node.hidden = share === undefined;
		const width = `${Math.round(100 * Math.min(1, Math.max(0, share || 0)))}%`;
		if (fill.style.width !== width) fill.style.width = width;
		setClass(fill, share >= 0.85 ? 'full' : '');
	};
	return node;
}

// button returns a button. While its action runs, it does nothing else. what completes the
// text for screen readers.
export function button(text, action, what = '') {
	const node = el('button', { type: 'button', 'aria-label': what && `${text} ${what}` || undefined }, text);
	node.addEventListener('click', () => once(node, action));
	return node;
}

// once runs an action unless the one before on this node has not ended.
export async function once(node, action) {
	if (node.getAttribute('aria-busy') === 'true') return;
	node.setAttribute('aria-busy', 'true');
	try {
		await action();
	} finally {
		node.removeAttribute('aria-busy');
	}
}
