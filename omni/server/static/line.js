// The one WebSocket. It comes back by itself and asks for what it missed: frames are counted.

const VOICE = 2;
const MICROPHONE = 1;
const PICTURE = 3;
const RING = 500; // microphone frames kept while the line is down: ten seconds
const CLOG = 256 * 1024; // bytes that may wait in the socket before sound and pictures wait outside
const QUEUE = 100; // messages kept while the line is down
const CALL_MS = 125_000;

export class Line {
  #handlers = new Map();
  #socket = null;
  #session = sessionStorage.getItem("omni.session") ?? "";
  #received = null; // frames received of this session; null: ask for a summary
  #acked = 0;
  #tries = 0;
  #timer = 0;
  #ring = [];
  #queue = [];
  #calls = new Map();
  #nextCall = 1;
  #ended = false;
  #position = null;
  open = false;

  constructor() {
    window.addEventListener("online", () => this.#retryNow());
    document.addEventListener("visibilitychange", () => document.hidden || this.#retryNow());
    setInterval(() => this.#acknowledge(), 1000);
  }

  get session() {
    return this.#session;
  }

  /** Call `handler(message)` for messages of this type; "up", "down", "ended" and "voice" are the line's own. */
  on(type, handler) {
    if (!this.#handlers.has(type)) this.#handlers.set(type, new Set());
    this.#handlers.get(type).add(handler);
    return () => this.#handlers.get(type).delete(handler);
  }

  #tell(type, message) {
    for (const handler of [...(this.#handlers.get(type) ?? []), ...(type in LINE ? [] : (this.#handlers.get("*") ?? []))]) {
      try {
        handler(message);
      } catch (error) {
        console.error(`handling ${type} failed`, error);
      }
    }
  }

  connect() {
    clearTimeout(this.#timer);
    this.#ended = false;
    const query = new URLSearchParams();
    if (this.#session) query.set("session", this.#session);
    if (this.#session && this.#received !== null) query.set("received", this.#received);
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws?${query}`, ["omni"]);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.onmessage = (event) => this.#socket === socket && this.#receive(event.data);
    socket.onclose = (event) => this.#socket === socket && this.#closed(event);
  }

  /** Go over to another session (a resumed conversation), or to a new one. */
  switchTo(session) {
    this.#keep(session);
    this.#received = null;
    this.#ring = [];
    this.#forgetCalls();
    this.#drop();
    this.connect();
  }

  #drop() {
    const old = this.#socket;
    this.#socket = null;
    this.open = false;
    old?.close();
  }

  #keep(session) {
    this.#session = session;
    sessionStorage.setItem("omni.session", session);
  }

  #receive(data) {
    if (typeof data !== "string") {
      this.#received += 1;
      this.#voice(data);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "Welcome") {
      this.#welcome(message);
      return;
    }
    if (this.#received !== null) this.#received += 1;
    if (message.type === "Result") this.#result(message);
    else this.#tell(message.type, message);
    if (this.#received - this.#acked >= 64) this.#acknowledge();
  }

  #welcome(message) {
    if (message.session !== this.#session) this.#forgetCalls();
    this.#keep(message.session);
    this.#received = message.next;
    this.#acked = message.next;
    this.#tries = 0;
    this.open = true;
    this.#tell("up", message);
    const queued = this.#queue.splice(0);
    for (const text of queued) this.#socket.send(text);
    if (message.resumed && this.#position) this.sendNow("Played", this.#position);
    this.#drain();
  }

  #voice(buffer) {
    const view = new DataView(buffer);
    if (view.getUint8(0) !== VOICE) return;
    this.#tell("voice", {
      turn: view.getUint32(1, true),
      rate: view.getUint32(5, true),
      offset: Number(view.getBigUint64(9, true)),
      clause: view.getUint32(17, true),
      pcm: buffer.slice(21),
    });
  }

  #closed(event) {
    this.open = false;
    this.#socket = null;
    if (event.code === 4409) {
      this.#ended = true;
      this.#tell("ended", { reason: "elsewhere" });
      return;
    }
    this.#tries += 1;
    const wait = Math.min(5000, 250 * 2 ** Math.min(this.#tries - 1, 5)) * (0.8 + 0.4 * Math.random());
    this.#tell("down", { tries: this.#tries, code: event.code });
    this.#timer = setTimeout(() => this.connect(), wait);
  }

  #retryNow() {
    if (!this.#socket && !this.#ended && this.#tries) this.connect();
  }

  // -- sending ------------------------------------------------------------------------------------

  /** Send a message now, or when the line is up again. */
  send(type, fields = {}) {
    const text = JSON.stringify({ type, ...fields });
    if (this.open) this.#socket.send(text);
    else if (this.#queue.length < QUEUE) this.#queue.push(text);
  }

  /** Send a message only if the line is up: what is old by the time it is up again is left out. */
  sendNow(type, fields = {}) {
    if (this.open) this.#socket.send(JSON.stringify({ type, ...fields }));
  }

  /** How far the loudspeaker is; while the line is down only the last word counts, and is said when it is up. */
  played(report) {
    this.#position = report;
    this.sendNow("Played", report);
  }

  /** One microphone frame; kept in a ring while the line is down. A full ring shows as a jump of `seq`. */
  sound(seq, pcm) {
    const frame = new Uint8Array(5 + pcm.byteLength);
    const view = new DataView(frame.buffer);
    view.setUint8(0, MICROPHONE);
    view.setUint32(1, seq, true);
    frame.set(new Uint8Array(pcm), 5);
    this.#ring.push(frame);
    if (this.#ring.length > RING) this.#ring.shift();
    this.#drain();
  }

  #drain() {
    while (this.open && this.#ring.length && this.#socket.bufferedAmount < CLOG) this.#socket.send(this.#ring.shift());
  }

  /** One picture, unless the line is busy: the next one is as good. Returns whether it went. */
  picture(source, jpeg) {
    if (!this.open || this.#socket.bufferedAmount > CLOG) return false;
    this.#socket.send(new Blob([new Uint8Array([PICTURE, source === "screen" ? 1 : 0]), jpeg]));
    return true;
  }

  #acknowledge() {
    if (this.open && this.#received > this.#acked) {
      this.#acked = this.#received;
      this.sendNow("Ack", { received: this.#received });
    }
  }

  // -- calls of panels ------------------------------------------------------------------------------

  /** Call a handler of a plugin's panel. Rejects with an Error that has a `remedy`. */
  call(plugin, method, params = {}) {
    const id = this.#nextCall++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#result({ id, ok: false, message: `${plugin} did not answer.`, remedy: "Try again." }), CALL_MS);
      this.#calls.set(id, { resolve, reject, timer });
      this.send("Call", { id, plugin, method, params });
    });
  }

  #result({ id, ok, value, message, remedy }) {
    const call = this.#calls.get(id);
    if (!call) return;
    this.#calls.delete(id);
    clearTimeout(call.timer);
    if (ok) call.resolve(value);
    else call.reject(Object.assign(new Error(message), { remedy }));
  }

  #forgetCalls() {
    for (const id of [...this.#calls.keys()]) {
      this.#result({ id, ok: false, message: "The line was lost before the answer came.", remedy: "Try again." });
    }
  }
}

const LINE = { up: 1, down: 1, ended: 1, voice: 1 };
