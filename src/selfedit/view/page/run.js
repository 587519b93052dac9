// A run: what it is and found, its self-edits, questions to it.
import { follow, get } from "./api.js";
import { askView } from "./ask.js";
import { crumbs } from "./app.js";
import { byLength, byRound, methods } from "./charts.js";
import { $, el, percent, pill, plusMinus, problem, show, statePill, table, whole, withError } from "./dom.js";
import { EditsView } from "./edits.js";

let current = null;

export async function runPage(id, rest, query, fresh) {
  if (current?.id !== id) current = new RunPage(id);
  const page = current;
  try {
    await page.ready;
  } catch (error) {
    if (current === page) current = null;
    throw error;
  }
  fresh();
  page.stop ??= follow(id, (news) => page.told(news));
  page.view(rest, query);
  return () => {
    page.stop();
    page.gone = true;
    if (current === page) current = null;
  };
}

class RunPage {
  constructor(id) {
    this.id = id;
    this.news = {};
    this.edits = new EditsView(this);
    this.ready = this.load();
  }

  async load() {
    [this.run, this.points, this.all] = await Promise.all([get("/api/run", { run: this.id }), get("/api/points", { run: this.id }), get("/api/runs")]);
  }

  get base() {
    return `#/run/${this.id}`;
  }

  view(rest, query) {
    this.kind = rest[0] ?? "overview";
    crumbs(...(this.all.runs.length > 1 ? [[this.all.root, "#/"]] : []), [this.run.name, this.base], ...(this.kind === "overview" ? [] : [[this.kind === "edits" ? "self-edits" : this.kind]]));
    $("#main").className = this.kind === "edits" ? "wide" : "";
    if (this.kind === "edits") this.edits.show(query);
    else if (this.kind === "ask") show(this.head(), askView(this));
    else this.overview();
    this.standing();
  }

  head() {
    const tab = (kind, key, text) => el("a", { href: kind === "overview" ? this.base : `${this.base}/${kind}`, "data-key": key, "aria-current": this.kind === kind && "page" }, text);
    const count = this.run.places.reduce((sum, place) => sum + place.count, 0);
    return [el("div", { class: "head" }, el("h1", {}, this.run.name), pill(this.run.kind), statePill(this.run.state), el("span", { class: "soft" }, this.run.model)),
      el("nav", { class: "tabs", "aria-label": "Views of this run" }, tab("overview", "o", "Overview"), count > 0 && tab("edits", "s", `Self-edits ${whole(count)}`), this.run.can_ask && this.all.can_ask && tab("ask", "a", "Ask"))];
  }

  overview() {
    const { run } = this, [first, ...others] = run.tables;
    const open = (point) => { location.hash = `${this.base}/edits?edit=${point.id}`; };
    const halves = [run.rows.length && methods(run.rows), byRound(this.points, open), byLength(this.points, open)].filter(Boolean);
    const prominent = others.filter((each) => ["Questions", "Passages and what was learned of them", "Left out"].some((title) => each.title.startsWith(title)));
    const rest = others.filter((each) => !prominent.includes(each));
    show(this.head(), run.problems.map((each) => problem(each)), el("div", { class: "cards", id: "overview" },
      run.kind === "adapt" && notes("Verdict", run.notes),
      run.documents.length > 0 && el("section", { class: "card" }, el("h2", {}, `Documents (${run.documents.length})`), documents(run.documents)),
      first && el("section", { class: `card ${halves.length % 2 ? "half" : ""}` }, el("h2", {}, first.title || "Results"), plain(first)),
      halves.map((picture) => el("section", { class: "card half" }, picture)),
      this.progress(),
      run.kind !== "adapt" && notes("Notes", run.notes),
      prominent.map((each) => el("section", { class: "card" }, el("h2", {}, `${each.title} (${each.rows.length})`), long(each))),
      rest.length > 0 && el("section", { class: "card" }, rest.map((each) => [each.title && el("h2", {}, each.title), plain(each)])),
      times(run.timings),
      el("section", { class: "card" }, el("details", {}, el("summary", {}, "Settings"), table(["setting", "value"], run.settings.map(([name, value]) => [el("code", {}, name), value]))))));
  }

  // Rounds and methods with self-edits: how far, how many were kept, what they earned.
  progress() {
    const { places } = this.run;
    if (!places.length) return null;
    const rows = places.map((place) => [
      el("a", { href: `${this.base}/edits?place=${place.id}` }, place.name),
      place.expected && place.count < place.expected ? el("span", {}, `${place.count} of ${place.expected}`, el("progress", { max: place.expected, value: place.count, "aria-label": `${place.name}: self-edits` })) : whole(place.count),
      place.phase === "rl" ? whole(place.kept) : "", whole(place.cut),
      place.reward ? plusMinus(place.reward.mean, place.reward.se) : "", place.right ? withError(place.right.mean, place.right.se) : "", place.right?.n ?? place.reward?.n ?? ""]);
    return el("section", { class: "card" }, el("h2", {}, "Rounds and methods"), table(["self-edits of", "how many", "kept", "cut off", "reward ± se", "right % ± se", "passages"], rows, { numeric: [1, 2, 3, 4, 5, 6] }));
  }

  async told(news) {
    if (this.gone) return;
    const before = this.news;
    this.news = news.lost ? { ...before, lost: news.lost } : news;
    this.standing();
    if (news.gone || news.lost) return;
    document.body.dataset.indexed = news.indexed >= news.total ? "all" : "some";
    // What is shown holds all of this already; that the ledger was checked, say, is in nothing below.
    const same = before.total === undefined || ["state", "finished", "steps"].every((name) => String(before[name]) === String(news[name]));
    if (same && this.run.indexed === news.total && this.points.indexed === news.total) return;
    this.partial = news.indexed < news.total;
    // One at a time: while the index is filled, news come many times a second.
    this.timer ??= setTimeout(() => { this.timer = null; this.refresh(); }, this.partial ? 900 : news.total > 20000 ? 2500 : 250);
  }

  async refresh() {
    if (this.gone) return;
    try {
      await this.load();
      if (this.gone) return;
      if (this.kind === "overview") {
        const at = scrollY, opened = [...document.querySelectorAll("details")].map((each) => each.open);
        if (!document.activeElement?.closest("#overview input")) {
          this.overview();
          document.querySelectorAll("details").forEach((each, n) => { each.open = opened[n] ?? each.open; });
          scrollTo(0, at);
        }
      }
      if (this.kind === "edits") this.edits.refresh();
    } catch (error) {
      this.news = { ...this.news, lost: error.message };
      this.standing();
    }
  }

  standing() {
    const { gone, lost, indexed, total, checked, state, place } = this.news, parts = [];
    if (gone || lost) parts.push(pill(gone ?? lost, "bad"));
    else {
      if (indexed < total) parts.push(`reading ${percent(indexed / total, 0)} %`);
      if (checked) parts.push(pill(`the ledger: ${checked}`, "bad"));
      if (state === "running") parts.push(place && el("span", { class: "now" }, `now: ${place}`), statePill(state));
    }
    $("#standing").replaceChildren(...parts.filter(Boolean));
  }
}

const notes = (title, texts) => texts.length > 0 && el("section", { class: "card" }, el("h2", {}, title), texts.map((text) => el("p", { class: "note" }, text)));

const numbers = /^[+−-]?[\d.,]+( \(.*\))?$|^\?$|^$/;

function plain({ columns, rows }) {
  const numeric = columns.map((_, at) => at).filter((at) => at > 0 && rows.every((row) => numbers.test(row[at])) && rows.some((row) => row[at]));
  return table(columns, rows.map(graded(columns)), { numeric, stack: columns.length > 5 });
}

// A column without a name says of the one before it whether it is right: one cell of the two.
const graded = (columns) => (row) => row.flatMap((cell, at) => {
  if (columns[at] === "" && ["right", "wrong", "?"].includes(cell)) return [];
  const verdict = columns[at + 1] === "" ? row[at + 1] : null;
  const kind = verdict === "right" || verdict === "wrong" ? verdict : verdict === "?" ? "open" : null;
  return [kind ? el("td", { class: kind, "data-label": columns[at] }, cell || "(nothing)") : cell];
});

function long({ columns, rows }) {
  const shownColumns = columns.filter((name) => name !== "");
  const body = el("div", {});
  const draw = (word) => {
    const kept = rows.filter((row) => !word || row.some((cell) => cell.toLowerCase().includes(word)));
    body.replaceChildren(table(shownColumns, kept.map(graded(columns))), kept.length === 0 ? el("p", { class: "empty" }, "No row holds that.") : "");
  };
  draw("");
  if (rows.length <= 8) return body;
  const input = el("input", { type: "search", placeholder: "search these rows", "aria-label": "Search these rows", oninput: () => draw(input.value.trim().toLowerCase()) });
  return [input, body];
}

function documents(entries) {
  const change = (measure, show) => (measure ? `${show(measure.before.mean)} → ${show(measure.after.mean)}` : "");
  return table(["document", "passages", "questions answered %", "loss of its text", "loss of unrelated text"], entries.map((entry) => [
    entry.run ? el("a", { href: `#/run/${entry.run}` }, entry.name) : entry.name, entry.passages, change(entry.accuracy, percent), change(entry.loss, (value) => value.toFixed(2)),
    el("span", { class: entry.damage.after.mean > entry.damage.before.mean * 1.02 ? "wrong" : "" }, change(entry.damage, (value) => value.toFixed(2)))]), { numeric: [1, 2, 3, 4] });
}

function times(timings) {
  const parts = Object.entries(timings).filter(([, seconds]) => seconds > 0).sort((a, b) => b[1] - a[1]);
  const all = parts.reduce((sum, [, seconds]) => sum + seconds, 0);
  if (!all) return null;
  return el("section", { class: "card" }, el("details", {}, el("summary", {}, `Where ${spent(all)} went`), table(["part", "time", "%"], parts.map(([name, seconds]) => [name, spent(seconds), percent(seconds / all, 0)]), { numeric: [1, 2] })));
}

const spent = (seconds) => (seconds < 90 ? `${seconds.toFixed(1)} s` : seconds < 5400 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`);
