// The settings: this page's own, then all of the configuration, made from its schema.

import { get, post } from "../api.js";
import { h, problem } from "../dom.js";
import { devices } from "../microphone.js";

export async function render(root, { line, microphone, speaker }) {
  root.append(await own(line, microphone, speaker));
  const { sections, file } = await get("/api/config");
  for (const section of sections) {
    root.append(h("section", {}, h("h2", {}, section.plugin ? `Plugin: ${section.title}` : section.title), section.settings.map(setting)));
  }
  root.append(h("p", { class: "quiet" }, "Written to ", h("code", {}, file), "; changes hold from the next start of Omni."));
}

async function own(line, microphone, speaker) {
  const choose = (label, list, current, onchange, note = "") => {
    const select = h("select", {}, h("option", { value: "" }, "The system's choice"), list.map((d, i) => h("option", { value: d.deviceId, selected: d.deviceId === current }, d.label || `${label} ${i + 1}`)));
    select.addEventListener("change", () => onchange(select.value));
    return field(label, note, select);
  };
  const tick = (label, note, checked, onchange) => {
    const box = h("input", { type: "checkbox", checked });
    box.addEventListener("change", () => onchange(box.checked));
    return field(label, note, box);
  };
  const stored = (key) => localStorage.getItem(key);
  const speed = h("input", { type: "range", min: "0.7", max: "1.5", step: "0.05", value: stored("omni.speed") ?? "1" });
  speed.addEventListener("change", () => {
    localStorage.setItem("omni.speed", speed.value);
    line.send("Settings", { values: { speed: Number(speed.value) } });
  });
  return h("section", {}, h("h2", {}, "This page"),
    choose("Microphone", await devices("audioinput"), microphone.device, async (id) => { microphone.choose(id); if (microphone.live) await microphone.open(); }, "Names appear once the microphone was allowed."),
    speaker.context && !("setSinkId" in speaker.context) ? null : choose("Loudspeaker", await devices("audiooutput"), speaker.device, (id) => speaker.choose(id)),
    tick("Speak answers", "Off: answers are written only.", stored("omni.voice") !== "off", (on) => { localStorage.setItem("omni.voice", on ? "on" : "off"); line.send("Settings", { values: { voice: on } }); }),
    field("Speed of the voice", "", speed),
    tick("Off the record", "Nothing of this conversation is remembered.", stored("omni.off_the_record") === "on", (on) => { localStorage.setItem("omni.off_the_record", on ? "on" : "off"); line.send("Settings", { values: { off_the_record: on } }); }),
    tick("Single-key shortcuts", "Space, C, S, P and T act while you are not typing. Esc always stops.", stored("omni.keys") !== "off", (on) => localStorage.setItem("omni.keys", on ? "on" : "off")));
}

let counter = 0;

function field(label, note, control, after = null) {
  const id = `setting-${++counter}`;
  control.id = id;
  if (note) control.setAttribute("aria-describedby", `${id}-note`);
  return h("div", { class: "setting" }, h("label", { for: id }, label), control, note ? h("p", { class: "quiet", id: `${id}-note` }, note) : null, after);
}

function setting(spec) {
  const said = h("p", { class: "origin quiet", role: "status" }, origin(spec));
  const control = controlFor(spec);
  const row = field(spec.key.split(".").at(-1).replaceAll("_", " "), spec.help ?? "", control, said);
  const save = async (value) => {
    row.querySelector(".problem")?.remove();
    try {
      const answer = await post("/api/config", { key: spec.key, value });
      spec.origin = answer.origin;
      said.textContent = answer.overruled ? `Saved, but ${answer.origin} overrules it.` : "Saved. It holds from the next start of Omni.";
      if (value === null) put(control, spec, answer.value);
    } catch (error) {
      row.append(problem(error));
    }
  };
  control.addEventListener("change", () => {
    const value = read(control, spec);
    if (value instanceof Error) {
      row.querySelector(".problem")?.remove();
      row.append(problem(value));
    } else save(value);
  });
  if (spec.origin !== "default") row.append(h("button", { class: "plain reset", onclick: () => save(null) }, "Back to the default"));
  return row;
}

const origin = (spec) => (spec.origin === "default" ? "" : `Set by ${spec.origin}.`);
const listed = (spec) => spec.type === "array" || spec.type === "object";

function controlFor(spec) {
  if (spec.type === "boolean") return h("input", { type: "checkbox", checked: Boolean(spec.value) });
  if (spec.choices && !listed(spec)) return h("select", {}, spec.choices.map((c) => h("option", { value: String(c), selected: c === spec.value }, String(c))));
  const number = spec.type === "integer" || spec.type === "number";
  const control = h("input", { type: number ? "number" : "text", autocomplete: "off", spellcheck: "false", min: spec.minimum ?? null, max: spec.maximum ?? null, step: spec.type === "number" ? "any" : null });
  put(control, spec, spec.value);
  return control;
}

function put(control, spec, value) {
  if (spec.type === "boolean") control.checked = Boolean(value);
  else control.value = listed(spec) ? JSON.stringify(value ?? []) : (value ?? "");
}

function read(control, spec) {
  if (spec.type === "boolean") return control.checked;
  if (spec.type === "integer" || spec.type === "number") {
    return control.value === "" ? null : Number(control.value);
  }
  if (listed(spec)) {
    try {
      return JSON.parse(control.value || "null");
    } catch {
      return Object.assign(new Error("This is a list."), { remedy: 'Write it like ["one", "two"].' });
    }
  }
  return spec.choices ? spec.choices.find((c) => String(c) === control.value) : control.value;
}
