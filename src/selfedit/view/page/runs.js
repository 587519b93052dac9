// The list of runs.
import { get } from "./api.js";
import { crumbs, go } from "./app.js";
import { $, ago, el, percent, pill, show, statePill, table } from "./dom.js";

const chosen = new Set();

export async function runsPage(fresh) {
  let answer = fresh(await get("/api/runs"));
  const draw = () => {
    const at = document.activeElement?.dataset?.run;
    const library = answer.runs.find((run) => run.kind === "library");
    crumbs([answer.root]);
    const compare = el("button", { type: "button", disabled: chosen.size !== 2, onclick: () => go(`#/compare/${[...chosen].join("/")}`) }, "Compare the two");
    $("#main").className = "";
    show(el("div", { class: "head" }, el("h1", {}, answer.root), el("span", { class: "soft" }, `${answer.runs.length} run${answer.runs.length === 1 ? "" : "s"}`),
      answer.runs.length > 1 && compare, library && el("span", { class: "soft small" }, "a library's documents are runs, too")),
    el("div", { class: "card runs" }, table(["", "run", "kind", "state", "result", "model", "changed"], answer.runs.map(row))));
    wire();
    if (at) $(`tr[data-run="${at}"]`)?.focus();
  };
  const row = (run) => {
    const box = el("input", { type: "checkbox", "aria-label": `compare ${run.name}`, checked: chosen.has(run.id), onchange: () => {
      if (box.checked) chosen.add(run.id);
      else chosen.delete(run.id);
      draw();
    } });
    return [box, el("a", { class: "name", href: `#/run/${run.id}` }, run.name), run.kind ?? "", run.error ? pill("cannot be read", "bad") : statePill(run.state), results(run), run.model ?? "", run.changed ? ago(run.changed) : ""];
  };
  draw();
  const timer = setInterval(async () => {
    if (document.hidden) return;
    try {
      const news = fresh(await get("/api/runs"));
      if (JSON.stringify(news) === JSON.stringify(answer)) return;
      answer = news;
      draw();
    } catch { /* told when something is opened */ }
  }, 4000);
  return () => clearInterval(timer);
}

// A whole row leads to its run.
function wire() {
  for (const row of document.querySelectorAll(".runs tbody tr")) {
    const link = $("a", row);
    row.className = "link";
    row.tabIndex = -1;
    row.dataset.run = link.hash;
    row.addEventListener("click", (event) => { if (!event.target.closest("input, a")) go(link.hash); });
    row.addEventListener("keydown", (event) => { if (event.key === "Enter" && event.target === row) go(link.hash); });
  }
}

function results(run) {
  if (run.error) return el("span", { class: "wrong" }, run.error);
  const rows = run.rows ?? [];
  if (!rows.length) return "";
  return el("span", { class: "chips" }, rows.slice(0, 6).map((row) => el("span", { class: "chip", title: `n = ${row.n}` }, `${row.method} `, el("b", {}, percent(row.accuracy)), row.se === null ? "" : ` ± ${percent(row.se)}`)), rows.length > 6 && el("span", { class: "soft small" }, `and ${rows.length - 6} more`));
}
