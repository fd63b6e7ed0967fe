/** The WebSocket: new points, lines and events, while the page is open. */

const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 5000;
const LOG_IN_AGAIN = 4401; // the token was revoked or is over (dashboard/auth.py)
const SILENCE_MS = 6000; // the server sends its state about once a second

/** @typedef {{run?: string, source?: string, series: string[]}} Wish */

export class Feed {
  /**
   * @param {string} url
   * @param {{onDelta: (message: import("../types/api").Delta) => void, onState: (message: import("../types/api").State) => void, onReset: () => void, onConnection: (lostSince_ms: number | null) => void, onLoggedOut: () => void, onRefused?: () => void}} listener `onRefused`: a socket has ended before it was open, without a word why
   * @param {string[]} [protocols]
   */
  constructor(url, listener, protocols = []) {
    this.url = url;
    this.protocols = protocols;
    this.listener = listener;
    /** @type {Wish[]} */
    this.wishes = [];
    this.cursor = 0; // after the last delta
    this.from = 0; // of the subscription's first delta
    this.least = Infinity; // what the first subscription must begin at
    this.retry_ms = FIRST_RETRY_MS;
    this.message_ms = Date.now(); // of the last message
    this.tried_ms = 0; // of the last attempt to connect
    /** @type {WebSocket | null} */
    this.socket = null;
    this.connect();
    this.timer = setInterval(() => this.check(), 1000);
  }

  /** For good. */
  close() {
    clearInterval(this.timer);
    const { socket } = this;
    this.socket = null;
    socket?.close();
    this.connect = () => {};
  }

  /**
   * Subscribe to data after a cursor, and after what was followed before; the same wishes again change nothing.
   * @param {Wish[]} wishes @param {number} cursor
   */
  subscribe(wishes, cursor) {
    if (JSON.stringify(wishes) === JSON.stringify(this.wishes)) return;
    this.#begin(Math.min(cursor, this.wishes.length ? this.cursor : this.least), wishes);
    this.least = Infinity;
  }

  /** Deltas are to continue an answer with this cursor: a subscription that began later begins anew there. @param {number} cursor */
  follow(cursor) {
    if (!this.wishes.length) this.least = Math.min(this.least, cursor);
    else if (cursor < this.from) this.#begin(cursor, this.wishes);
  }

  /** Nothing is wished for any more; another page is shown. */
  forget() {
    this.wishes = [];
    this.least = Infinity;
  }

  /** @param {number} cursor @param {Wish[]} wishes */
  #begin(cursor, wishes) {
    this.wishes = wishes;
    this.cursor = this.from = cursor;
    if (this.socket?.readyState === WebSocket.OPEN) this.#send();
  }

  #send() {
    this.socket?.send(JSON.stringify({ subscribe: this.wishes, cursor: this.cursor }));
  }

  connect() {
    const socket = new WebSocket(this.url, this.protocols);
    this.socket = socket;
    this.tried_ms = Date.now();
    let hasOpened = false;
    socket.onopen = () => {
      hasOpened = true;
      this.retry_ms = FIRST_RETRY_MS;
      this.listener.onConnection(null);
      if (this.wishes.length) this.#send();
    };
    socket.onmessage = (event) => this.onMessage(JSON.parse(event.data));
    socket.onclose = ({ code }) => {
      if (code === LOG_IN_AGAIN) return this.listener.onLoggedOut();
      if (!hasOpened) this.listener.onRefused?.();
      return this.onLost(socket);
    };
  }

  /** @param {import("../types/api").Message} message */
  onMessage(message) {
    this.message_ms = Date.now();
    if (message.type === "state") this.listener.onState(message);
    else if (message.type === "reset") {
      this.wishes = [];
      this.listener.onReset();
    } else if (message.type === "delta" && message.cursor >= this.cursor) {
      this.cursor = message.cursor;
      this.listener.onDelta(message);
    }
  }

  /** @param {WebSocket} socket */
  onLost(socket) {
    if (socket !== this.socket) return;
    this.socket = null;
    this.listener.onConnection(this.message_ms);
    setTimeout(() => this.connect(), this.retry_ms * (0.75 + Math.random() / 2)); // spread, so that many tabs do not return at once
    this.retry_ms = Math.min(LAST_RETRY_MS, this.retry_ms * 2);
  }

  /** A connection that died silently looks open for minutes. */
  check() {
    const { socket } = this;
    if (socket?.readyState !== WebSocket.OPEN) this.listener.onConnection(this.message_ms);
    if (!socket || Date.now() - Math.max(this.message_ms, this.tried_ms) < SILENCE_MS) return;
    this.onLost(socket);
    socket.close();
  }
}
