// What the conversation is about: the camera, the screen, the whiteboard, a picture, a plugin's panel.
// Several things may be there; tabs choose. Nothing there: the stage is gone.

import { h } from "./dom.js";

class Stage extends HTMLElement {
  #things = new Map(); // key -> {title, element, onclose}
  #shown = "";

  /** Put `element` on the stage under `key`; the same key again replaces it. `onclose` makes it closable. */
  show(key, title, element, onclose = null) {
    this.#things.set(key, { title, element, onclose });
    this.#shown = key;
    this.#render();
  }

  /** Take something off the stage. Idempotent. */
  remove(key) {
    if (!this.#things.delete(key)) return;
    if (this.#shown === key) this.#shown = [...this.#things.keys()].at(-1) ?? "";
    this.#render();
  }

  has(key) {
    return this.#things.has(key);
  }

  get(key) {
    return this.#things.get(key)?.element;
  }

  choose(key) {
    if (!this.#things.has(key)) return;
    this.#shown = key;
    this.#render();
  }

  get shown() {
    return this.#shown;
  }

  #render() {
    this.hidden = this.#things.size === 0;
    document.body.classList.toggle("staged", !this.hidden);
    this.#bar ??= h("div", { class: "stage-bar" });
    this.#body ??= h("div", { class: "stage-body" });
    if (!this.#bar.isConnected) this.append(this.#bar, this.#body);
    this.#bar.replaceChildren(...this.#tabs());
    for (const child of [...this.#body.children]) {
      if (![...this.#things.values()].some((t) => t.element === child)) child.remove();
    }
    for (const [key, { element }] of this.#things) {
      if (element.parentNode !== this.#body) this.#body.append(element);
      element.hidden = key !== this.#shown;
    }
    this.dispatchEvent(new CustomEvent("change", { detail: { shown: this.#shown } }));
  }

  #bar = null;
  #body = null;

  #tabs() {
    const tabs = [...this.#things].map(([key, { title }]) =>
      h("button", { class: "tab", role: "tab", "aria-selected": key === this.#shown ? "true" : "false", onclick: () => this.choose(key) }, title),
    );
    const current = this.#things.get(this.#shown);
    const close = current?.onclose
      ? h("button", { class: "plain close", "aria-label": `Close ${current.title}`, onclick: () => current.onclose() }, "Close")
      : null;
    return [h("div", { class: "tabs", role: "tablist", "aria-label": "On the stage" }, tabs), ...(close ? [close] : [])];
  }
}

customElements.define("omni-stage", Stage);
