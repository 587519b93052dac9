// One passage: its self-edits side by side across rounds, and what each taught.
import { get } from "./api.js";
import { $, el, gradeClass, marked, number, percent, pill, problem, signed, table } from "./dom.js";

export class ContextView {
  constructor(page, root, opened, closed) {
    this.page = page;
    this.root = root;
    this.opened = opened;
    this.closed = closed;
    this.whole = new Map();
  }

  async show(id, word) {
    const own = (this.asked = (this.asked ?? 0) + 1);
    this.word = word;
    try {
      const [edit] = await this.edits([id]);
      if (!edit) throw new Error("There is no such self-edit in this run.");
      if (own !== this.asked) return;
      if (this.stale || this.context?.number !== edit.context) {
        const context = await get("/api/context", { run: this.page.id, context: edit.context });
        if (own !== this.asked) return;
        if (this.context?.number !== edit.context) this.chosen = new Map();
        this.context = { ...context, number: edit.context };
        this.stale = false;
      }
      this.id = id;
      this.choose();
      const shown = this.chosen.get(edit.place) ?? [];
      // The one that is opened takes the place of the first beside it, unless it is there already.
      if (!shown.includes(id)) this.chosen.set(edit.place, [id, ...shown.slice(1)]);
      await this.edits([...this.chosen.values()].flat());
      if (own === this.asked) this.draw();
    } catch (error) {
      if (own === this.asked) this.root.replaceChildren(this.back(), problem(error));
    }
  }

  // Of each round the best one; where there is one round only, its best and its worst.
  choose() {
    if (this.chosen.size) return;
    const worth = (edit) => edit.reward ?? edit.right ?? -Infinity;
    const places = [...new Set(this.context.edits.map((edit) => edit.place))];
    for (const place of places) {
      const ranked = this.of(place).sort((a, b) => worth(b) - worth(a));
      const ends = places.length === 1 && ranked.length > 1 ? [ranked[0], ranked.at(-1)] : [ranked[0]];
      this.chosen.set(place, ends.map((edit) => edit.id));
    }
  }

  of(place) {
    return this.context.edits.filter((edit) => edit.place === place);
  }

  // One more of the same round beside it, or one less.
  async beside(edit, more) {
    const shown = this.chosen.get(edit.place), other = this.of(edit.place).find((each) => !shown.includes(each.id));
    this.chosen.set(edit.place, more ? [...shown, other.id] : shown.filter((id) => id !== edit.id));
    await this.edits([...this.chosen.values()].flat());
    this.draw();
  }

  async edits(ids) {
    const missing = ids.filter((id) => !this.whole.has(id)).slice(0, 24);
    if (missing.length) {
      if (this.whole.size > 400) this.whole.clear();
      const wanted = [...new Set([...missing, ...ids.filter((id) => !this.whole.has(id))])].slice(0, 24);
      for (const edit of (await get("/api/whole", { run: this.page.id, ids: wanted.join(",") })).edits) this.whole.set(edit.id, edit);
    }
    return ids.map((id) => this.whole.get(id)).filter(Boolean);
  }

  // More is known by now: asked for again when something is opened next.
  forget() {
    this.whole.clear();
    this.stale = true;
  }

  back() {
    return el("button", { type: "button", class: "back", "data-back": true, onclick: () => this.closed() }, "← All self-edits");
  }

  draw() {
    const { context } = this, columns = [...this.chosen.values()].flat().map((id) => this.whole.get(id)).filter(Boolean);
    const order = new Map(this.page.run.places.map((place, at) => [place.id, at]));
    columns.sort((a, b) => (order.get(a.place) ?? 0) - (order.get(b.place) ?? 0));
    const scroll = this.drawn === context.number ? this.root.scrollTop : 0;
    this.drawn = context.number;
    this.root.replaceChildren(this.back(),
      el("div", { class: "head" }, el("h1", {}, context.title || context.name), context.title && el("span", { class: "soft small mono" }, context.name)),
      context.passage ? el("details", { open: true }, el("summary", {}, "Passage"), el("div", { class: "passage" }, marked(context.passage, this.word))) : el("p", { class: "note" }, context.note),
      el("div", { class: "columns" }, columns.map((edit) => this.column(edit))), this.answers(columns));
    this.root.scrollTop = scroll;
  }

  column(edit) {
    const same = this.of(edit.place), shown = this.chosen.get(edit.place);
    const pick = el("select", { "aria-label": `Self-edit of ${edit.place_name}`, onchange: () => {
      const id = Number(pick.value);
      this.chosen.set(edit.place, shown.includes(id) ? shown : shown.map((each) => (each === edit.id ? id : each)));
      this.opened(id);
      this.show(id, this.word);
    } }, same.map((each) => el("option", { value: each.id, selected: each.id === edit.id }, `#${each.candidate}${each.reward !== null ? `  ${signed(each.reward)}` : each.right !== null ? `  ${percent(each.right, 0)} %` : ""}${each.kept ? "  kept" : ""}`)));
    const fact = (name, value) => el("span", {}, `${name} `, el("b", {}, value));
    const losses = edit.trials.map((trial) => trial.loss).filter((loss) => loss !== null);
    return el("article", { class: `column ${edit.id === this.id ? "chosen" : ""}`, "aria-label": `${edit.place_name}, self-edit ${edit.candidate}` },
      el("header", {}, el("h3", {}, edit.place_name), pick,
        shown.length < Math.min(same.length, 6) && el("button", { type: "button", class: "quiet", title: "another of this round beside it", "aria-label": `Another self-edit of ${edit.place_name} beside it`, onclick: () => this.beside(edit, true) }, "+"),
        shown.length > 1 && edit.id !== this.id && el("button", { type: "button", class: "quiet", title: "take it away", "aria-label": `Take self-edit ${edit.candidate} of ${edit.place_name} away`, onclick: () => this.beside(edit, false) }, "×")),
      el("div", { class: "facts" }, edit.kept === 1 && pill("kept", "accent"), edit.kept === 0 && edit.reward !== null && pill("not kept"), edit.cut === 1 && pill("cut off", "warn"),
        edit.reward !== null && fact("reward", signed(edit.reward)), edit.accuracy !== null && fact("measured", `${number(edit.accuracy)} (start ${number(edit.baseline)})`),
        edit.right !== null && fact("right", `${percent(edit.right, 0)} %`), fact("tokens", edit.tokens),
        losses.length > 0 && fact("training loss", losses.map((loss) => number(loss)).join(", ")), edit.trials[0]?.steps && fact("steps", edit.trials[0].steps)),
      edit.rejected && el("p", { class: "facts wrong" }, `rejected: ${edit.rejected}`),
      el("pre", { tabindex: 0, "aria-label": "Its text" }, marked(edit.text, this.word)));
  }

  // Questions down, models across: what each answered, with its grade.
  answers(columns) {
    const sources = [...this.context.fixed.map((fixed) => ({ name: fixed.place_name, trials: fixed.trials })), ...columns.map((edit) => ({ name: `${edit.place_name} #${edit.candidate}`, trials: edit.trials, chosen: edit.id === this.id }))].filter((source) => source.trials.some((trial) => trial.answers.length || trial.likelihoods.length));
    if (!sources.length) return el("p", { class: "note" }, "No answers yet.");
    const known = new Map(this.context.questions.map((question) => [question.id, question]));
    const ids = [...new Set(sources.flatMap((source) => source.trials.flatMap((trial) => [...trial.answers, ...trial.likelihoods].map((answer) => answer.question))))];
    const rows = ids.map((id) => {
      const question = known.get(id);
      return [question?.text ?? id, question ? question.answers[0] : "", ...sources.map((source) => cell(source, id))];
    });
    const columnsShown = ["question", ...(known.size ? ["reference"] : []), ...sources.map((source) => source.name)];
    return el("section", { class: "card" }, el("h2", {}, "Answers, question by question"), table(columnsShown, known.size ? rows : rows.map((row) => [row[0], ...row.slice(2)])));
  }
}

function cell(source, id) {
  const label = { "data-label": source.name };
  const answers = source.trials.flatMap((trial) => trial.answers.filter((answer) => answer.question === id));
  if (!answers.length) {
    const values = source.trials.flatMap((trial) => trial.likelihoods.filter((one) => one.question === id).map((one) => one.value));
    return el("td", label, values.length ? `${values.map((value) => number(value)).join(", ")} nats` : "");
  }
  const one = answers.length === 1;
  return el("td", { ...label, class: one && gradeClass(answers[0].correct), title: answers[0].grader ? `graded by ${answers[0].grader}` : null }, one ? answers[0].text.trim() || "(nothing)" : answers.map((answer) => el("div", { class: gradeClass(answer.correct) }, `${answer.correct === true ? "✓" : answer.correct === false ? "✗" : "?"} ${answer.text.trim() || "(nothing)"}`)));
}
