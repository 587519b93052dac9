// Two runs beside each other, paired passage by passage.
import { get } from "./api.js";
import { crumbs, go } from "./app.js";
import { paired } from "./charts.js";
import { $, el, number, percent, show, signed, table, whole, withError } from "./dom.js";

export async function comparePage(a, b, query, fresh) {
  const [answer, all] = fresh(await Promise.all([get("/api/compare", { a, b, method: query.get("method") }), get("/api/runs")]));
  const names = [a, b].map((id) => all.runs.find((run) => run.id === id)?.name ?? id);
  crumbs([all.root, "#/"], [`${names[0]} and ${names[1]}`]);
  $("#main").className = "";
  const link = (at) => el("a", { href: `#/run/${[a, b][at]}` }, names[at]);
  const head = el("div", { class: "head" }, el("h1", {}, link(0), " and ", link(1)), el("button", { type: "button", onclick: () => go(`#/compare/${b}/${a}`) }, "Swap"));
  if (!answer.methods.length) return void show(head, el("p", { class: "empty" }, "These runs have measured nothing in common yet."));
  const reward = answer.method.startsWith("reward");
  const shown = (value) => (reward ? number(value, 3) : percent(value));
  const gap = (row) => (row.difference ? `${signed(100 * row.difference.difference, 1)} ± ${percent(row.difference.se)}` : "");
  const methods = table(["method", names[0], names[1], "second − first ± se", "n"], answer.methods.map((row) => [
    el("a", { href: `#/compare/${a}/${b}?method=${encodeURIComponent(row.method)}`, "aria-current": row.method === answer.method && "true" }, row.method),
    row.one ? withError(row.one.mean, row.one.se) : "", row.other ? withError(row.other.mean, row.other.se) : "", gap(row), row.difference?.n ?? 0]), { numeric: [1, 2, 3, 4], attributes: (row) => ({ class: row[0].getAttribute("aria-current") && "chosen" }) });
  const only = answer.only[0] + answer.only[1];
  show(head, el("div", { class: "cards" },
    el("section", { class: "card half" }, el("h2", {}, "By method, on what both measured (%)"), methods, el("p", { class: "note small" }, "Differences are paired; less than two of its standard errors shows nothing.")),
    el("section", { class: "card half" }, paired(answer.rows, names)),
    el("section", { class: "card" }, el("h2", {}, `${answer.method}: passage by passage, the largest differences first`),
      only > 0 && el("p", { class: "note" }, `${answer.only[0]} only in ${names[0]}, ${answer.only[1]} only in ${names[1]}.`),
      table(["passage or question", names[0], names[1], "difference"], answer.rows.slice(0, 500).map((row) => [row[0], shown(row[1]), shown(row[2]),
        el("span", { class: row[2] > row[1] ? "right" : row[2] < row[1] ? "wrong" : "" }, reward ? signed(row[2] - row[1], 3) : signed(100 * (row[2] - row[1]), 1))]), { numeric: [1, 2, 3] }),
      answer.count > 500 && el("p", { class: "note" }, `The first 500 of ${whole(answer.count)}.`))));
  return undefined;
}
