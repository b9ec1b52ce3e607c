// The page: what an operator sees of a gateway, and does. The data comes from /v1/live, and
// every action goes through /v1.

import { byId, setText } from './dom.js';
import { Live } from './live.js';
import { onSession, refresh, start } from './session.js';
import { showLive, showStatus } from './status.js';
import { showSeries, startCharts } from './chart.js';
import { showCapacity, startCapacity } from './capacity.js';
import { clearClients, showClients, startClients } from './clients.js';
import { clearAnswer, startExplain } from './explain.js';
import { showIncidents, startIncidents } from './incidents.js';
import { clearSearch, showDecisions, startDecisions } from './decisions.js';

let firstVersion; // of the gateway that served this page
let hadNames = false; // the latest view has names
let lost = false; // the stream has broken since the session was last asked for

// show shows one view. Its duration, with the painting of the charts, which uPlot does in a
// microtask, can be read as the measure postern-show.
function show(view, series) {
	const begun = performance.now();
	firstVersion ||= view.version;
	byId('upgraded').hidden = view.version === firstVersion;
	showStatus(view);
	showSeries(series);
	showCapacity(view);
	showNames(view.detail);
	queueMicrotask(() => {
		performance.clearMeasures('postern-show');
		performance.measure('postern-show', { start: begun, end: performance.now() });
	});
}

// showNames shows what names clients, or removes it. Names that appear or disappear come with
// another role.
function showNames(detail) {
	if (Boolean(detail) !== hadNames) {
		hadNames = Boolean(detail);
		document.body.classList.toggle('named', hadNames);
		if (!hadNames) clearNames();
		refresh();
	}
	if (!detail) return;
	showClients(detail);
	showIncidents(detail.incidents);
	showDecisions(detail);
}

// clearNames removes every name of a client.
function clearNames() {
	clearClients();
	clearAnswer();
	clearSearch();
	showIncidents([]);
	byId('about').value = '';
}

// connection shows how live the data is. After a break the role may be another.
function connection(state) {
	showLive(state);
	if (state.state === 'live' && lost) refresh();
	lost = state.state === 'lost';
}

startCharts();
startCapacity();
startClients();
startExplain();
startIncidents();
startDecisions();
start();
setText(byId('zone'), ` (${Intl.DateTimeFormat().resolvedOptions().timeZone})`);
byId('reload').addEventListener('click', () => location.reload());
await refresh();
const live = new Live('/v1/live', show, connection);
onSession(() => {
	clearNames();
	live.renew();
});
