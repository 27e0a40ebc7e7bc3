// The plugins: state, cost, what each may do; on and off.

import { get, post } from "../api.js";
import { h, problem, seconds } from "../dom.js";

export async function render(root) {
  const { plugins } = await get("/api/plugins");
  const order = { quarantined: 0, degraded: 1, refused: 2 };
  plugins.sort((a, b) => (order[a.state] ?? 9) - (order[b.state] ?? 9) || a.name.localeCompare(b.name));
  root.append(h("p", { class: "quiet" }, "What runs in Omni's own process is trusted: its permissions are what it says of itself. A plugin in a process of its own is held to them."));
  if (!plugins.length) root.append(h("p", { class: "empty" }, "No plugins are installed. ", h("code", {}, "omni plugin install NAME"), " adds one, ", h("code", {}, "omni plugin new NAME"), " begins your own."));
  root.append(h("ul", { class: "rows" }, plugins.map(row)));
}

function row(plugin) {
  const cost = [plugin.load_s ? `loaded in ${seconds(plugin.load_s)}` : "", plugin.ram_mb ? `${Math.round(plugin.ram_mb)} MB at load` : "", plugin.resources.ram_mb ? `asks for up to ${plugin.resources.ram_mb} MB` : "", plugin.isolation === "process" ? "in a process of its own" : ""].filter(Boolean).join(" · ");
  const does = [...plugin.capabilities, ...plugin.tools].join(", ").replaceAll("_", " ");
  const actions = h("div", { class: "row" });
  const item = h("li", { class: "item-row" },
    h("div", { class: "head" }, h("strong", {}, plugin.name), h("span", { class: "quiet" }, `${plugin.version} · ${plugin.licence || "no licence stated"}`), h("span", { class: `badge ${plugin.state}` }, plugin.state)),
    plugin.summary ? h("p", {}, plugin.summary) : null,
    plugin.reason ? h("p", { class: plugin.state === "refused" ? "quiet" : "problem" }, plugin.reason) : null,
    h("p", { class: "quiet" }, cost || "No cost measured yet."),
    h("details", {}, h("summary", {}, "What it does and may do"),
      does ? h("p", {}, `Offers: ${does}.`) : null,
      plugin.permissions_text.length ? h("ul", {}, plugin.permissions_text.map((text) => h("li", {}, `It may ${text}.`))) : h("p", {}, "It asks for no permissions.")),
    actions);

  const change = async (enabled) => {
    item.querySelector(".result")?.remove();
    try {
      await post("/api/plugins/enable", { plugin: plugin.id, enabled, grant: plugin.permissions });
      plugin.enabled = enabled;
      show();
      item.append(h("p", { class: "result quiet", role: "status" }, `${enabled ? "On" : "Off"} from the next start of Omni.`));
    } catch (error) {
      item.append(problem(error));
    }
  };
  function show() {
    const asks = plugin.permissions_text.length ? `Enable and allow it to ${plugin.permissions_text.join(", ")}` : "Enable";
    actions.replaceChildren(plugin.enabled ? h("button", { onclick: () => change(false) }, "Disable") : h("button", { class: "primary", onclick: () => change(true) }, asks));
  }
  show();
  return item;
}
