// Small pictures: every candidate a point that leads to its self-edit.
import { $, el, svg, number, percent, plusMinus, signed } from "./dom.js";

const HEIGHT = 300, LEFT = 46, RIGHT = 12, TOP = 12, BOTTOM = 34;

// Drawn in the size it is seen in, so that its words can be read on a phone.
let WIDTH = 640;
function fit() {
  WIDTH = matchMedia("(max-width: 52rem)").matches ? 380 : 640;
}

function scale([low, high], from, to) {
  const span = high - low || 1;
  return (value) => from + ((value - low) / span) * (to - from);
}

function ticks([low, high], count = 7) {
  const rough = (high - low || 1) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const values = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) values.push(Math.abs(value) < step / 1e6 ? 0 : value);
  return values;
}

function range(values, floor = Infinity, roof = -Infinity) {
  let low = floor, high = roof;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const room = (high - low || 1) * 0.05;
  return [low - room, high + room];
}

function frame(title, describes, height = HEIGHT) {
  return svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${height}`, role: "img", tabindex: 0, "aria-label": `${title}. ${describes}` });
}

function yAxis(picture, domain, y, label) {
  for (const value of ticks(domain)) {
    picture.append(svg("line", { class: value === 0 ? "zero" : "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
      svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, Number(value.toFixed(6))));
  }
  picture.append(svg("text", { x: 12, y: (HEIGHT - BOTTOM + TOP) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(HEIGHT - BOTTOM + TOP) / 2})` }, label));
}

// The same place for the same self-edit each time, without a pattern.
const spread = (id, salt = 2654435761) => ((Math.imul(id, salt) >>> 0) / 2 ** 32 - 0.5);

// Where rewards take few values, points that would hide each other stand a little higher or lower.
function heights(points, y) {
  const few = new Set(points.map((point) => point.worth)).size < 25;
  return { height: (point) => y(point.worth) + (few ? 9 * spread(point.id, 1597334677) : 0), note: few && points.length > 60 ? "; equal values are spread a little" : "" };
}

function interactive(picture, points, go) {
  const tip = $("#tip");
  let at = -1;
  const tell = (circle, point) => {
    const box = circle.getBoundingClientRect();
    tip.textContent = point.tip;
    tip.hidden = false;
    const left = Math.min(Math.max(8, box.x + 12), innerWidth - tip.offsetWidth - 8);
    tip.style.left = `${left}px`;
    tip.style.top = `${Math.max(8, box.y - tip.offsetHeight - 6)}px`;
  };
  const hide = () => { tip.hidden = true; };
  picture.addEventListener("pointerover", (event) => {
    const point = points[event.target.dataset?.n];
    if (point) tell(event.target, point);
    else hide();
  });
  picture.addEventListener("pointerleave", hide);
  picture.addEventListener("blur", () => { $(".at", picture)?.classList.remove("at"); at = -1; hide(); });
  picture.addEventListener("click", (event) => {
    const point = points[event.target.dataset?.n];
    if (point) { hide(); go(point); }
  });
  picture.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      at = (at + (event.key === "ArrowRight" ? 1 : -1) + points.length) % points.length;
      $(".at", picture)?.classList.remove("at");
      const circle = $(`[data-n="${at}"]`, picture);
      circle.classList.add("at");
      tell(circle, points[at]);
    } else if (event.key === "Enter" && at >= 0) { hide(); go(points[at]); }
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

function figure(title, picture, legend) {
  return el("figure", {}, el("figcaption", {}, title), picture, legend && el("div", { class: "legend" }, legend));
}

function pointsOf(answer) {
  const worth = answer.points.some((point) => point[3] !== null) ? 3 : 4;
  const names = new Map(answer.places.map((place, at) => [place.id, { name: place.name, at }]));
  const points = answer.points.filter((point) => point[worth] !== null).map((point) => {
    const place = names.get(point[1]) ?? { name: "", at: 0 };
    return { id: point[0], place, tokens: point[2], worth: point[worth], kept: point[5] === 1,
      tip: `${place.name}, ${point[2]} tokens\n${worth === 3 ? "reward" : "right"} ${worth === 3 ? signed(point[3]) : percent(point[4])}${point[5] === 1 ? ", kept" : ""}` };
  });
  return { points, label: worth === 3 ? "reward" : "share right", what: worth === 3 ? "reward" : "right" };
}

const some = (answer, points) => (answer.count > answer.points.length ? ` (${points.length.toLocaleString("en")} of ${answer.count.toLocaleString("en")} drawn)` : "");
const circle = (n, x, y, more, many) => svg("circle", { class: `p ${more} ${many > 400 ? "many" : ""}`, "data-n": n, cx: x.toFixed(1), cy: y.toFixed(1), r: many > 400 ? 2.6 : 4 });

// Every candidate's reward by round (or by method), with means over contexts and their errors.
export function byRound(answer, go) {
  fit();
  const { points, label, what } = pointsOf(answer);
  const places = answer.places.filter((place) => place[what]);
  if (!points.length || !places.length) return null;
  const domain = range([...points.map((point) => point.worth), 0]);
  const y = scale(domain, HEIGHT - BOTTOM, TOP), width = (WIDTH - LEFT - RIGHT) / places.length;
  const columns = new Map(places.map((place, at) => [place.name, LEFT + width * (at + 0.5)]));
  const shown = points.filter((point) => columns.has(point.place.name));
  shown.sort((a, b) => a.kept - b.kept);
  const { height, note } = heights(shown, y);
  const title = `${label[0].toUpperCase()}${label.slice(1)} of every self-edit${some(answer, shown)}${note}`;
  const picture = frame(title, places.map((place) => `${place.name}: mean ${number(place[what].mean, 3)}, standard error ${number(place[what].se, 3)} over ${place[what].n} passages`).join("; "));
  yAxis(picture, domain, y, label);
  shown.forEach((point, n) => picture.append(circle(n, columns.get(point.place.name) + spread(point.id) * Math.min(width * 0.8, 260), height(point), point.kept ? "kept" : "", shown.length)));
  for (const place of places) {
    const x = columns.get(place.name), { mean, se, n } = place[what], half = Math.min(width * 0.44, 150);
    if (se) picture.append(svg("line", { class: "mean", x1: x, x2: x, y1: y(mean - se), y2: y(mean + se) }));
    picture.append(svg("line", { class: "mean", x1: x - half, x2: x + half, y1: y(mean), y2: y(mean) }),
      svg("text", { x, y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, place.name),
      svg("text", { x, y: HEIGHT - BOTTOM + 30, "text-anchor": "middle" }, `${plusMinus(mean, se)}, n = ${n}`));
  }
  interactive(picture, shown, go);
  return figure(title, picture, [el("span", {}, el("i", { class: "kept" }), "kept"), el("span", {}, el("i"), "not kept"), "line: mean over passages, with its standard error"]);
}

// Reward against length, a colour a round.
export function byLength(answer, go) {
  fit();
  const { points, label } = pointsOf(answer);
  if (points.length < 3) return null;
  const across = range(points.map((point) => point.tokens)), domain = range([...points.map((point) => point.worth), 0]);
  const x = scale(across, LEFT, WIDTH - RIGHT), y = scale(domain, HEIGHT - BOTTOM, TOP);
  const { height, note } = heights(points, y);
  const title = `${label[0].toUpperCase()}${label.slice(1)} against length${some(answer, points)}${note}`;
  const picture = frame(title, `${points.length} self-edits of ${Math.ceil(across[0])} to ${Math.floor(across[1])} tokens`);
  yAxis(picture, domain, y, label);
  for (const value of ticks(across, 6)) picture.append(svg("text", { x: x(value), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, value));
  picture.append(svg("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 3, "text-anchor": "middle" }, "tokens of the self-edit"));
  points.forEach((point, n) => picture.append(circle(n, x(point.tokens), height(point), `c${(point.place.at % 4) + 1}`, points.length)));
  interactive(picture, points, go);
  const used = [...new Map(points.map((point) => [point.place.at, point.place])).values()].sort((a, b) => a.at - b.at);
  return figure(title, picture, used.map((place) => el("span", {}, el("i", { class: `c${(place.at % 4) + 1}` }), place.name)));
}

// Accuracy by method, with its standard error.
export function methods(rows) {
  fit();
  const shown = rows.filter((row) => row.accuracy !== null);
  if (!shown.length) return null;
  const height = 30 * shown.length + 40, left = 104, x = scale([0, 1], left, WIDTH - 60);
  const picture = frame("Accuracy by method", shown.map((row) => `${row.method}: ${percent(row.accuracy)} %, standard error ${percent(row.se)}`).join("; "), height);
  picture.removeAttribute("tabindex");
  for (const value of [0, 0.25, 0.5, 0.75, 1])
    picture.append(svg("line", { class: "axis", x1: x(value), x2: x(value), y1: 6, y2: height - 26 }), svg("text", { x: x(value), y: height - 10, "text-anchor": "middle" }, `${100 * value} %`));
  shown.forEach((row, at) => {
    const y = 22 + 30 * at, low = Math.max(0, row.accuracy - (row.se ?? 0)), high = Math.min(1, row.accuracy + (row.se ?? 0));
    picture.append(svg("text", { x: left - 10, y: y + 4, "text-anchor": "end" }, row.method.slice(0, 18)),
      svg("line", { class: "bar", x1: x(low), x2: x(high), y1: y, y2: y }), svg("circle", { class: "dot", cx: x(row.accuracy), cy: y, r: 5 }),
      svg("text", { x: WIDTH - 52, y: y + 4 }, percent(row.accuracy)));
  });
  return figure("Accuracy by method; the bar is one standard error to each side", picture);
}

// Two runs: each context a point, one run across, the other up.
export function paired(rows, names) {
  fit();
  const domain = range(rows.flatMap((row) => [row[1], row[2]]));
  const x = scale(domain, LEFT, WIDTH - RIGHT), y = scale(domain, HEIGHT - BOTTOM, TOP);
  const picture = frame("Each passage in both runs", `${rows.filter((row) => row[2] > row[1]).length} of ${rows.length} are higher in the second`);
  yAxis(picture, domain, y, "second run");
  for (const value of ticks(domain)) picture.append(svg("text", { x: x(value), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, Number(value.toFixed(6))));
  picture.append(svg("line", { class: "zero", x1: x(domain[0]), y1: y(domain[0]), x2: x(domain[1]), y2: y(domain[1]) }),
    svg("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 3, "text-anchor": "middle" }, "first run"));
  const points = rows.map((row) => ({ tip: `${row[0]}\n${names[0]}: ${number(row[1], 3)}\n${names[1]}: ${number(row[2], 3)}` }));
  rows.forEach((row, n) => picture.append(circle(n, x(row[1]), y(row[2]), row[2] > row[1] ? "kept" : "", rows.length)));
  if (rows.length) interactive(picture, points, () => {});
  return figure("Each passage in both runs; above the line the second is higher", picture);
}
