// The person's hand: pen, eraser, words, undo. What it draws is sent as operations, a stroke when the pen is lifted.

import { shape } from "./shapes.js";

//: Points of one stroke; a longer line is cut into several.
const LONGEST = 1500;
//: Board units between two points that count.
const STEP = 2;
//: Undo steps that are kept.
const DEEPEST = 100;

export class Pen {
  #tool = "hand";
  #colour = "ink";
  #points = [];
  #sketch = null;
  #pointer = null;
  #past = []; // ids that were drawn, the last at the end
  #count = 0;
  #name = Math.random().toString(36).slice(2, 8);

  /** `send(operations)` tells the server; `changed()` is called when the board or the past changed. */
  constructor(board, { send, changed }) {
    Object.assign(this, { board, send, changed });
    const { svg } = board;
    svg.addEventListener("pointerdown", (event) => this.#down(event));
    svg.addEventListener("pointermove", (event) => this.#move(event));
    for (const type of ["pointerup", "pointercancel"]) svg.addEventListener(type, (event) => this.#up(event));
  }

  pick(tool, colour) {
    this.#tool = tool;
    this.#colour = colour;
    this.board.svg.style.touchAction = tool === "hand" ? "auto" : "none";
  }

  get undoable() {
    return this.#past.some((id) => this.board.items.has(id));
  }

  /** Words below everything else. */
  write(text) {
    const y = this.board.empty ? 90 : this.board.bottom + 70;
    this.#put({ op: "text", id: this.#id(), x: 70, y: Math.min(19_000, y), text, size: 34, colour: this.#colour });
  }

  undo() {
    while (this.#past.length) {
      const id = this.#past.pop();
      if (this.board.items.has(id)) return this.#erase([id]);
    }
    return undefined;
  }

  clear() {
    this.#erase([]);
  }

  #id() {
    this.#count += 1;
    return `hand-${this.#name}-${this.#count}`;
  }

  #put(operation) {
    this.#past = [...this.#past.slice(1 - DEEPEST), operation.id];
    this.board.apply([operation], { author: "person" });
    this.send([operation]);
    this.changed();
  }

  #erase(targets) {
    const operation = { op: "erase", id: "erase", targets };
    this.board.apply([operation], { author: "person" });
    this.send([operation]);
    this.changed();
  }

  #place(event) {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.board.svg.getScreenCTM().inverse());
    return [Math.round(at.x * 10) / 10, Math.round(at.y * 10) / 10];
  }

  #down(event) {
    if (this.#tool === "hand" || this.#pointer !== null || event.button > 0) return;
    event.preventDefault();
    this.#pointer = event.pointerId;
    this.board.svg.setPointerCapture(event.pointerId);
    this.#points = [];
    this.#move(event);
  }

  #move(event) {
    if (event.pointerId !== this.#pointer) return;
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const one of moves.length ? moves : [event]) this.#at(this.#place(one));
  }

  #at([x, y]) {
    if (this.#tool === "eraser") {
      const id = this.board.hit(x, y);
      if (id) this.#erase([id]);
      return;
    }
    const last = this.#points.at(-1);
    if (last && Math.hypot(last[0] - x, last[1] - y) < STEP) return;
    this.#points.push([x, y]);
    const element = shape(this.#stroke("sketch"));
    if (this.#sketch) this.#sketch.replaceWith(element);
    else this.board.svg.append(element);
    this.#sketch = element;
    if (this.#points.length >= LONGEST) {
      this.#lift();
      this.#points = [[x, y]];
    }
  }

  #up(event) {
    if (event.pointerId !== this.#pointer) return;
    this.#pointer = null;
    this.#lift();
  }

  #stroke(id) {
    return { op: "stroke", id, points: this.#points, width: 4, colour: this.#colour };
  }

  #lift() {
    this.#sketch?.remove();
    this.#sketch = null;
    if (this.#points.length && this.#tool === "pen") this.#put(this.#stroke(this.#id()));
    this.#points = [];
  }
}
