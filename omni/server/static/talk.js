// The conversation as it is seen: live captions of both sides, the plan as it thinks, what was cut off.

import { announce, h, seconds } from "./dom.js";
import { formatted, heardLength } from "./text.js";

const KEPT = 300; // turns shown; older ones are in the history
const STEP_WORDS = { waiting: "waits", asking: "asks you", running: "works", done: "done", failed: "failed", refused: "not allowed" };
const PLAN_WORDS = { understanding: "Understanding", choosing: "Choosing what to do", acting: "Working on it", answering: "Answering" };
const STAGES = {
  recognition: "recognition", endpoint: "waiting for the end of the turn", first_text: "first words thought",
  first_clause_voice: "first words voiced", first_sound: "end of speech to first sound",
};

export class Talk {
  #turns = new Map();
  #list;
  #thread;
  #atEnd = true;
  #live = null; // the caption while someone speaks

  /** `line` gives events and takes approvals; `media(ref)` is the address of an attachment. */
  constructor({ line, list, thread, media }) {
    Object.assign(this, { line, media });
    this.#list = list;
    this.#thread = thread;
    new ResizeObserver(() => this.#follow(this.#atEnd)).observe(thread);
    thread.addEventListener("scroll", () => (this.#atEnd = thread.scrollHeight - thread.scrollTop - thread.clientHeight < 160));
    const on = (type, handler) => line.on(type, handler);
    on("SpeechStarted", () => this.#caption("", ""));
    on("PartialTranscript", (m) => this.#caption(m.text, m.stable ?? ""));
    on("TurnSpeculated", (m) => this.#caption(m.text, m.text));
    on("TurnDropped", () => this.#endCaption());
    on("TurnCommitted", (m) => this.#committed(m));
    on("PlanUpdated", (m) => this.#plan(m));
    on("ToolCalled", (m) => this.#tool(m, "running"));
    on("ToolReturned", (m) => this.#tool(m, m.error ? "failed" : "done"));
    on("ApprovalAsked", (m) => this.#ask(m));
    on("TextDelta", (m) => this.#delta(m));
    on("Spoken", (m) => this.#spoken(m));
    on("ReplyFinished", (m) => this.#finished(m));
    on("StageTiming", (m) => this.#timing(m));
    on("Notice", (m) => m.topic === "answer" && m.text && this.#problem(m));
    on("Error", (m) => this.#refused(m));
  }

  get empty() {
    return this.#list.childElementCount === 0;
  }

  /** Show a conversation as the server knows it. */
  restore({ history = [], approvals = [] }) {
    this.#turns.clear();
    this.#live = null;
    this.#list.replaceChildren();
    for (const e of history) {
      const turn = this.#turn(e.turn ?? 0);
      turn.asked.replaceChildren(e.asked);
      this.#attachments(turn, e.attachments);
      Object.assign(turn, { text: e.answer || e.heard, heard: e.heard, spoken: true });
      if (e.heard || e.answer) this.#settle(turn, e.cut ? "cut" : "done");
      for (const [stage, value] of Object.entries(e.timings ?? {})) this.#timing({ turn: e.turn, stage, seconds: value });
    }
    approvals.forEach((asked) => this.#ask(asked));
    this.#follow(true);
  }

  // -- the person's side ------------------------------------------------------------------------

  #caption(text, stable) {
    if (!this.#live) {
      this.#live = h("li", { class: "turn hearing" }, h("p", { class: "asked" }));
      this.#list.append(this.#live);
      this.#changed();
    }
    const sure = text.startsWith(stable) ? stable : "";
    this.#live.firstChild.replaceChildren(h("span", { class: "who" }, "You"), sure, h("span", { class: "unsure" }, text.slice(sure.length) || (sure ? "" : "…")));
    this.#follow();
  }

  #endCaption() {
    this.#live?.remove();
    this.#live = null;
    this.#changed();
  }

  #committed(m) {
    this.#endCaption();
    const turn = this.#turn(m.turn ?? 0);
    turn.asked.replaceChildren(m.text);
    turn.pending = h("p", { class: "pending" }, "Thinking");
    turn.answer.replaceChildren(turn.pending);
    this.#attachments(turn, m.attachments);
    if ((m.source ?? "voice") === "voice") announce(`You said: ${m.text}`);
    this.#follow(true);
  }

  #attachments(turn, attachments = []) {
    turn.shown.replaceChildren(
      ...attachments.map((a) =>
        (a.mime ?? "image/").startsWith("image/")
          ? h("img", { src: this.media(a.ref), alt: a.name ? `Shown: ${a.name}` : "The picture that was shown", loading: "lazy" })
          : h("span", { class: "chip" }, a.name || "Document"),
      ),
    );
  }

  // -- Omni's side --------------------------------------------------------------------------------

  #turn(number) {
    const known = this.#turns.get(number);
    if (known) return known;
    const asked = h("span", {});
    const turn = { number, asked, shown: h("div", { class: "shown" }), steps: h("ol", { class: "steps", hidden: true }), answer: h("div", { class: "answer" }), foot: h("div", { class: "foot" }), text: "", heard: "", spoken: false, stages: {}, tools: new Map(), done: "" };
    turn.element = h("li", { class: "turn" }, h("p", { class: "asked" }, h("span", { class: "who" }, "You"), asked), turn.shown, h("div", { class: "reply" }, h("span", { class: "who" }, "Omni"), turn.steps, turn.answer, turn.foot));
    this.#turns.set(number, turn);
    this.#list.append(turn.element);
    while (this.#turns.size > KEPT) {
      const [oldest] = this.#turns.keys();
      this.#turns.get(oldest).element.remove();
      this.#turns.delete(oldest);
    }
    this.#changed();
    return turn;
  }

  #plan(m) {
    const turn = this.#turn(m.turn ?? 0);
    const { steps = [], state, note } = m.plan;
    turn.planned = true;
    turn.steps.hidden = !steps.length && !note;
    turn.steps.replaceChildren(
      ...steps.map((s) => this.#step(s.tool, s.arguments, s.state, s.error || s.preview, s.seconds)),
      ...(note ? [h("li", { class: "note" }, note)] : []),
    );
    if (turn.pending && PLAN_WORDS[state]) turn.pending.textContent = PLAN_WORDS[state];
    this.#follow();
  }

  #tool(m, state) {
    const turn = this.#turn(m.turn ?? 0);
    turn.element.querySelector(`[data-call="${CSS.escape(m.call)}"]`)?.remove();
    if (turn.planned) return; // the plan shows it
    const before = turn.tools.get(m.call) ?? {};
    const now = { ...before, ...m, state };
    turn.tools.set(m.call, now);
    turn.steps.hidden = false;
    turn.steps.replaceChildren(...[...turn.tools.values()].map((t) => this.#step(t.tool, t.arguments, t.state, t.error, t.seconds)));
    this.#follow();
  }

  #step(tool, values, state = "waiting", note = "", took = 0) {
    const shown = Object.values(values ?? {}).map((v) => (typeof v === "string" ? v : JSON.stringify(v))).join(", ");
    return h("li", { class: `step ${state}` },
      h("span", { class: "tool" }, tool.replaceAll("_", " ")),
      shown ? h("span", { class: "values" }, shown.slice(0, 120)) : null,
      h("span", { class: "how" }, `${STEP_WORDS[state] ?? state}${took ? `, ${seconds(took)}` : ""}`),
      note ? h("span", { class: "result" }, note) : null);
  }

  #ask(m) {
    const turn = this.#turn(m.turn ?? 0);
    const answer = (approved) => {
      this.line.send("ApprovalGiven", { call: m.call, digest: m.digest, approved });
      card.replaceChildren(h("p", {}, approved ? "You said yes." : "You said no."), h("p", { class: "values" }, m.sentence));
      card.classList.add("answered");
    };
    const no = h("button", { onclick: () => answer(false) }, "No, don't");
    const card = h("section", { class: "approval", "data-call": m.call, "aria-label": "Omni asks for your permission" },
      h("p", { class: "sentence" }, m.sentence),
      h("dl", {}, h("dt", {}, "Tool"), h("dd", {}, h("code", {}, m.tool)),
        Object.entries(m.arguments ?? {}).map(([key, value]) => [h("dt", {}, key), h("dd", {}, h("code", {}, typeof value === "string" ? value : JSON.stringify(value)))])),
      h("div", { class: "row" }, h("button", { class: "primary", onclick: () => answer(true) }, "Yes, do exactly this"), no));
    turn.element.querySelector(`[data-call="${CSS.escape(m.call)}"]`)?.remove();
    turn.element.querySelector(".reply").append(card);
    announce(`Omni asks: ${m.sentence}`);
    this.#follow(true);
    if (document.activeElement === document.body) no.focus();
  }

  #delta(m) {
    const turn = this.#turn(m.turn ?? 0);
    turn.text += m.text;
    turn.pending = null;
    this.#paint(turn);
  }

  #spoken(m) {
    const turn = this.#turn(m.turn ?? 0);
    turn.heard = m.text;
    turn.spoken ||= Boolean(m.text);
    if (m.final) this.#settle(turn, m.cut ? "cut" : turn.done || "done");
    else this.#paint(turn);
  }

  #finished(m) {
    const turn = this.#turn(m.turn ?? 0);
    turn.text = m.text || turn.text;
    turn.done = m.reason ?? "done";
    turn.pending?.remove();
    turn.pending = null;
    if (turn.settled) this.#settle(turn, turn.settled);  // what was heard was known before the whole text was
    else this.#paint(turn);
    if (this.line.silent?.()) announce(`Omni: ${turn.text}`);
  }

  /** While it speaks: what was heard in full ink, what is still to come quieter. */
  #paint(turn) {
    const end = turn.spoken ? heardLength(turn.text, turn.heard) : turn.text.length;
    turn.answer.replaceChildren(h("p", { class: "live" }, h("span", {}, turn.text.slice(0, end)), h("span", { class: "unheard" }, turn.text.slice(end))));
    this.#follow();
  }

  #settle(turn, reason) {
    turn.settled = reason;
    turn.pending?.remove();
    turn.element.querySelector(".approval:not(.answered)")?.remove();
    if (reason === "cut") {
      const end = heardLength(turn.text, turn.heard);
      const rest = turn.text.slice(end).trim();
      turn.answer.replaceChildren(
        ...formatted(turn.heard ? turn.text.slice(0, end) || turn.heard : ""),
        h("p", { class: "cut" }, h("span", {}, turn.heard ? "Interrupted here" : "Interrupted before a word was heard"),
          rest ? h("details", {}, h("summary", {}, "what you did not hear"), h("p", {}, rest)) : null));
    } else {
      turn.answer.replaceChildren(...formatted(turn.text || turn.heard));
    }
    this.#follow();
  }

  #problem(m) {
    const turn = this.#turn(m.turn ?? 0);
    turn.pending?.remove();
    turn.foot.append(h("p", { class: "problem", role: "alert" }, m.text));
    this.#follow();
  }

  #refused(m) {
    if (m.code !== "bad_frame" && m.code !== "failed") return;
    this.#list.append(h("li", { class: "turn" }, h("p", { class: "problem", role: "alert" }, m.message, m.remedy ? ` ${m.remedy}` : "")));
    this.#changed();
    this.#follow();
  }

  #timing(m) {
    const turn = this.#turn(m.turn ?? 0);
    turn.stages[m.stage] = m.seconds ?? 0;
    const all = Object.entries(turn.stages);
    const most = Math.max(...all.map(([, value]) => value), 0.001);
    const open = turn.foot.querySelector("details")?.open ?? false;
    const sound = turn.stages.first_sound;
    turn.foot.querySelector("details")?.remove();
    const rows = all.map(([stage, value]) => {
      const bar = h("span", { class: "bar" });
      bar.style.setProperty("--share", (value / most).toFixed(3));
      return h("div", { class: "stage" }, h("span", {}, STAGES[stage] ?? stage.replaceAll("_", " ")), bar, h("span", { class: "value" }, seconds(value)));
    });
    turn.foot.prepend(h("details", { class: "timing", open }, h("summary", {}, sound === undefined ? "stages" : `${seconds(sound)} to the first sound`), h("div", { class: "stages" }, rows)));
  }

  // -- small things ---------------------------------------------------------------------------------

  #changed() {
    this.#list.dispatchEvent(new CustomEvent("changed"));
  }

  /** Keep the end in view, unless the person has scrolled up to read. */
  #follow(always = false) {
    const box = this.#thread;
    if (always || this.#atEnd) requestAnimationFrame(() => (box.scrollTop = box.scrollHeight));
  }
}
