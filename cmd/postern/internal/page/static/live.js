// The stream of states. What it says about itself is never better than what has arrived: data
// is live only while the time in it goes on.

// Milliseconds.
const lateAfter = 3500; // without a newer state the data is not live
const deadAfter = 10000; // then the stream is opened again
const checkEvery = 500;
const retryFirst = 300;
const retryMax = 5000;
const hiddenFor = 60000; // then a hidden page closes its stream: a browser has few for each server

// seriesTime is how many seconds of the series are kept, as the gateway sends at first.
const seriesTime = 300;

// Live keeps a stream open. onView is called with each state, onState with each change or
// second of {state, age}: state is connecting, live, lost or paused; age, in milliseconds, that
// of the latest data, or undefined before the first.
export class Live {
	constructor(path, onView, onState) {
		Object.assign(this, { path, onView, onState, series: [], retry: retryFirst, state: 'connecting' });
		setInterval(() => this.check(), checkEvery);
		document.addEventListener('visibilitychange', () => this.visibility());
		addEventListener('online', () => this.open());
		this.open();
	}

	// open opens the stream, and closes the one before.
	open() {
		this.close();
		this.opened = Date.now();
		this.flowing = false; // nothing has arrived on this stream
		const source = new EventSource(this.path);
		this.source = source;
		source.addEventListener('open', () => { this.fresh = true; });
		source.addEventListener('view', event => { if (source === this.source) this.receive(event.data); });
		source.addEventListener('error', () => { if (source === this.source) this.lose(); });
	}

	// renew opens the stream again because other data is due.
	renew() {
		this.open();
		this.enter('connecting');
	}

	// close closes the stream and shows nothing.
	close() {
		clearTimeout(this.timer);
		this.source?.close();
		this.source = undefined;
	}

	// receive takes one state.
	receive(text) {
		let view;
		try {
			view = JSON.parse(text);
		} catch {
			this.lose();
			return;
		}
		if (view.time !== this.time) this.advanced = Date.now();
		this.time = view.time;
		this.flowing = true;
		this.retry = retryFirst;
		this.merge(view.series || []);
		this.onView(view, this.series);
		this.check();
	}

	// merge adds what is new to the series. The first state of a stream has all of it.
	merge(series) {
		if (this.fresh) this.series = [];
		this.fresh = false;
		for (const second of series) {
			while (this.series.length > 0 && this.series.at(-1).t >= second.t) this.series.pop();
			this.series.push(second);
		}
		const last = this.series.at(-1)?.t || 0;
		while (this.series.length > 0 && this.series[0].t <= last - seriesTime) this.series.shift();
	}

	// lose notes that the stream has ended, and opens it again after a while.
	lose() {
		this.close();
		this.enter('lost');
		this.timer = setTimeout(() => this.open(), this.retry);
		this.retry = Math.min(2 * this.retry, retryMax);
	}

	// check notices that nothing arrives, or nothing new.
	check() {
		if (this.state === 'paused') return;
		const age = this.age();
		if (this.flowing && this.source && age < lateAfter) this.enter('live');
		else if (this.state === 'connecting' && Date.now() - this.opened < lateAfter) this.enter('connecting');
		else this.enter('lost');
		if (this.source && Date.now() - Math.max(this.opened, this.advanced || 0) > deadAfter) this.lose();
	}

	// age is how old the latest data is. A clock that was set back makes it old.
	age() {
		if (this.advanced === undefined) return undefined;
		const age = Date.now() - this.advanced;
		return age < 0 ? deadAfter : age;
	}

	// visibility closes the stream of a page that nobody sees, and opens it when somebody does.
	visibility() {
		clearTimeout(this.hide);
		if (document.hidden) {
			this.hide = setTimeout(() => { this.close(); this.enter('paused'); }, hiddenFor);
		} else if (this.state === 'paused') {
			this.enter('lost');
			this.open();
		} else {
			this.check();
		}
	}

	enter(state) {
		this.state = state;
		this.onState({ state, age: this.age() });
	}
}
