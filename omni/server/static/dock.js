// The controls at the bottom, always reachable, each with its key: microphone, message, pictures, stop.

import { h, icon } from "./dom.js";

/** Keys of the page; they count only where nobody types. */
export const KEYS = { " ": "mic", m: "mic", c: "camera", s: "screen", p: "picture", t: "type", "/": "type", Escape: "stop" };

export class Dock {
  #buttons = {};
  #notices = new Map();
  #level = 0;

  /** `act(name)` is called for "mic", "camera", "screen", "picture", "stop"; `say(text)` for a message. */
  constructor(root, { act, say }) {
    Object.assign(this, { act, say });
    const button = (name, label, key) => {
      const b = h("button", { class: `tool ${name}`, "aria-label": label, title: `${label} (${key})`, "aria-keyshortcuts": key, onclick: () => act(name) }, icon(name), h("span", { class: "label" }, label));
      this.#buttons[name] = b;
      return b;
    };
    this.field = h("textarea", { id: "say", rows: "1", placeholder: "Type a message", "aria-label": "Type a message", maxlength: "20000", enterkeyhint: "send" });
    this.field.addEventListener("input", () => this.#fit());
    this.field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.#submit();
      }
    });
    this.chips = h("div", { class: "chips", hidden: true, "aria-label": "Goes with your next message" });
    this.cannot = h("div", { id: "cannot", role: "status", hidden: true });
    this.file = h("input", { type: "file", accept: "image/*,application/pdf", multiple: true, hidden: true, tabindex: "-1", "aria-hidden": "true" });
    root.append(
      this.cannot,
      this.chips,
      h("div", { class: "controls" },
        button("mic", "Start", "Space"),
        h("form", { class: "message", onsubmit: (event) => { event.preventDefault(); this.#submit(); } }, this.field, h("button", { class: "plain send", "aria-label": "Send", title: "Send (Enter)" }, icon("send"))),
        button("picture", "Picture", "P"), button("camera", "Camera", "C"), button("screen", "Screen", "S"), button("stop", "Stop", "Esc")),
      h("p", { class: "keys" }, [["Space", "microphone"], ["Esc", "stop"], ["T", "type"], ["C", "camera"], ["S", "screen"], ["P", "picture"]].map(([key, what]) => h("span", {}, h("kbd", {}, key), ` ${what}`))),
      this.file,
    );
    this.#buttons.stop.disabled = true;
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const target = event.composedPath()[0];
    const typing = target.closest?.("input, textarea, select, [contenteditable], [data-own-keys]");
    const pressing = event.key === " " && target.closest?.("button, a, summary, [role=tab]");
    const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action || pressing) return;
    if (action === "stop") {
      if (typing) target.blur();
      this.act("stop");
      return;
    }
    if (typing || localStorage.getItem("omni.keys") === "off") return;
    event.preventDefault();
    if (action === "type") this.field.focus();
    else this.act(action);
  }

  #submit() {
    const text = this.field.value.trim();
    if (!text && this.chips.hidden) return;
    this.say(text || "What is this?");
    this.field.value = "";
    this.#fit();
  }

  #fit() {
    this.field.style.height = "auto";
    this.field.style.height = `${Math.min(this.field.scrollHeight, 160)}px`;
  }

  /** "off", "on" or "muted". */
  microphone(state) {
    const [label, pressed, name] = { off: ["Start", "false", "mic"], on: ["Mute", "true", "mic"], muted: ["Unmute", "false", "muted"] }[state];
    const b = this.#buttons.mic;
    b.className = `tool mic ${state}`;
    b.setAttribute("aria-label", label);
    b.setAttribute("aria-pressed", pressed);
    b.title = `${label} (Space)`;
    b.replaceChildren(icon(name), h("span", { class: "label" }, label));
  }

  /** Whether the camera or the screen is being shown. */
  eye(name, on) {
    this.#buttons[name].setAttribute("aria-pressed", String(on));
  }

  stoppable(yes) {
    this.#buttons.stop.disabled = !yes;
  }

  /** The level meter, 0..1 of full scale; falls slowly, as meters do. */
  level(rms) {
    const loud = Math.max(0, Math.min(1, (20 * Math.log10(rms + 1e-6) + 55) / 45));
    this.#level = loud > this.#level ? loud : this.#level * 0.85;
    this.#buttons.mic.style.setProperty("--level", this.#level.toFixed(3));
  }

  /** What can't be done at present. Empty text clears the topic. */
  notice(topic, text, level = "warning") {
    if (text) this.#notices.set(topic, { text, level });
    else this.#notices.delete(topic);
    const all = [...this.#notices.values()].reverse();
    this.cannot.hidden = !all.length;
    if (!all.length) return this.cannot.replaceChildren();
    const worst = all.some((n) => n.level === "error") ? "error" : all.some((n) => n.level === "warning") ? "warning" : "info";
    this.cannot.className = worst;
    const rest = all.slice(1);
    return this.cannot.replaceChildren(
      h("p", {}, all[0].text),
      rest.length ? h("details", {}, h("summary", {}, `and ${rest.length} more`), rest.map((n) => h("p", {}, n.text))) : "",
    );
  }

  clearNotices() {
    this.#notices.clear();
    this.notice("", "");
  }
}
