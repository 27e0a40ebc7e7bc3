// The models: what each is for, its size and licence; fetch, stop, remove, use.

import { get, post } from "../api.js";
import { bytes, h, problem, seconds } from "../dom.js";

const STATES = { installed: "On this machine", partial: "Partly fetched", missing: "Not here", failed: "Failed", fetching: "Fetching" };

export async function render(root, { line }) {
  const rows = new Map();
  const { models, folder } = await get("/api/models");
  const tasks = Map.groupBy ? Map.groupBy(models, (m) => m.task) : group(models);
  for (const [task, members] of tasks) {
    root.append(h("section", {}, h("h2", {}, task.replaceAll("-", " ")), h("ul", { class: "rows" }, members.map(row))));
  }
  if (!models.length) root.append(h("p", { class: "empty" }, "The catalogue is empty. It is read from config/models.toml."));
  root.append(h("p", { class: "quiet" }, "Kept in ", h("code", {}, folder), ". Each file is checked against the catalogue before it is used."));

  function row(model) {
    const state = h("p", { class: "state" });
    const actions = h("div", { class: "row" });
    const bar = h("progress", { max: "1", value: "0", hidden: true, "aria-label": `Fetching ${model.name}` });
    const item = h("li", { class: "item-row" },
      h("div", { class: "head" }, h("strong", {}, model.name), h("span", { class: "quiet" }, `${bytes(model.size)} · ${model.licence}${model.plugins.length ? ` · for ${model.plugins.join(", ")}` : ""}`)),
      model.notes ? h("p", { class: "quiet" }, model.notes) : null, state, bar, actions,
      h("details", {}, h("summary", {}, "Licence and source"), h("p", {}, model.licence_found), h("p", { class: "quiet" }, `Sources, in order: ${model.sources.join(", ")}. Format: ${model.format}.`)));
    const show = (name, note = "") => {
      model.state = name;
      state.textContent = `${STATES[name] ?? name}${model.in_use ? " · in use" : ""}${note ? ` · ${note}` : ""}`;
      state.className = `state ${name}`;
      bar.hidden = name !== "fetching";
      const button = (label, path, kind = "") => h("button", { class: kind, onclick: () => attempt(path, label) }, label);
      actions.replaceChildren(
        ...(name === "fetching" ? [button("Stop", "cancel")]
          : name === "installed" ? [model.switch && !model.in_use ? button("Use this one", "switch", "primary") : null, button("Remove", "remove", "danger")].filter(Boolean)
            : [button(name === "partial" ? "Go on fetching" : `Fetch ${bytes(model.size)}`, "pull", "primary")]),
      );
    };
    const attempt = async (path) => {
      item.querySelector(".problem")?.remove();
      try {
        const answer = await post(`/api/models/${path}`, { model: model.id });
        if (path === "pull") show("fetching", "beginning");
        if (path === "remove") show("missing", `${bytes(answer.freed)} freed`);
        if (path === "switch") {
          model.in_use = true;
          show("installed", "from the next start on");
        }
      } catch (error) {
        item.append(problem(error));
      }
    };
    rows.set(model.id, { show, bar, item });
    show(model.progress ? "fetching" : model.state);
    return item;
  }

  const off = line.on("ModelProgress", (m) => {
    if (!root.isConnected && rows.size && document.getElementById("page").childElementCount && !document.getElementById("page").contains(root)) return off();
    const found = rows.get(m.model);
    if (!found) return undefined;
    if (m.state === "fetching") {
      found.bar.value = m.total ? m.done / m.total : 0;
      const eta = m.eta_s === null || m.eta_s === undefined ? "" : `, ${seconds(m.eta_s)} left`;
      found.show("fetching", `${m.phase} ${bytes(m.done)} of ${bytes(m.total)}${m.rate ? `, ${bytes(m.rate)}/s` : ""}${eta}`);
    } else {
      found.show(m.state === "failed" ? "missing" : m.state, m.state === "partial" ? m.message : "");
      if (m.state === "failed") found.item.append(problem(m));
    }
    return undefined;
  });
}

function group(models) {
  const found = new Map();
  for (const model of models) found.set(model.task, [...(found.get(model.task) ?? []), model]);
  return found;
}
