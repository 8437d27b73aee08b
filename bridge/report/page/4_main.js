// Everything is put together; names reach the page as text only.
function setUnit(key) {
  plot.unit = DATA.units.find((u) => u.key === key);
  plot.chosen = -1;
  $("unit").value = key;
  $("unit-word").textContent = plot.unit.word;
  const groups = plot.unit.columns.map((c) => [c.key, c.label]);
  options($("measure"), groups);
  plot.measure = plot.unit.first;
  $("measure").value = plot.measure;
}

function redraw() {
  plot.measure = $("measure").value;
  plot.log = $("axis").value === "log";
  draw();
}

function controls() {
  options($("unit"), DATA.units.map((u) => [u.key, u.plural]));
  options($("condition"), [["", "all"], ...DATA.conditions.map((name, k) => [k, name])]);
  options($("replicate"), [["", "all"], ...DATA.replicates.map((name, k) => [k, name || "not named"])]);
  options($("field"), [["", "all"], ...DATA.fields.map((f, k) => [k, f.id])]);
  const bits = DATA.bits.flatMap((b) => [[b.key, b.words], ["not " + b.key, "not " + b.words]]);
  options($("show"), [["", "all"], ...bits, ["flagged", "fields with a check that failed"]]);
  $("unit").addEventListener("change", () => { setUnit($("unit").value); redraw(); });
  for (const id of ["measure", "axis", "condition", "replicate", "field", "show"]) $(id).addEventListener("change", redraw);
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("plot").addEventListener("click", (event) => {
    const frame = $("plot").getBoundingClientRect(), i = nearest(event.clientX - frame.left, event.clientY - frame.top);
    if (i >= 0) choose(i);
  });
  $("plot").addEventListener("keydown", (event) => {
    if (event.key.startsWith("Arrow")) {
      event.preventDefault();
      const i = walk(event.key);
      if (i >= 0) choose(i);
    } else if (event.key === "Enter" && plot.chosen >= 0) {
      event.preventDefault();
      openField(plot.unit.field[plot.chosen]);
    }
  });
  $("open-field").addEventListener("click", () => openField(plot.unit.field[plot.chosen]));
  $("view-close").addEventListener("click", () => $("view").close());
  for (const id of ["view-channel", "view-outlines"]) $(id).addEventListener("change", drawField);
  $("view-canvas").addEventListener("click", pick);
  let waiting = 0;
  window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(draw, 100); });
}

function key() {
  const shown = DATA.has_replicates ? DATA.replicates.map((name, r) => [name || "not named", r]) : [];
  $("key").replaceChildren(...shown.map(([name, r]) => {
    const entry = element("span"), canvas = Object.assign(document.createElement("canvas"), { width: 28, height: 28 });
    canvas.style.width = canvas.style.height = "14px";
    const context = canvas.getContext("2d");
    marker(context, lookOf(r).kind, 14, 14, 9);
    context.fillStyle = lookOf(r).colour;
    context.fill();
    entry.append(canvas, element("span", name));
    return entry;
  }), ...(DATA.gates.length ? [element("span", "dashed: the gate")] : []));
}

function thumbnails() {
  options($("sheet-condition"), DATA.conditions.map((name, k) => [k, name]));
  options($("sheet-channel"), DATA.channels.map((c, k) => [k, c.name]));
  if (DATA.first_channel >= 0) $("sheet-channel").value = DATA.first_channel;
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      watcher.unobserve(entry.target);
      thumbnail(entry.target);
    }
  }, { rootMargin: "200px" });
  const show = () => {
    const channel = DATA.channels[$("sheet-channel").value];
    $("range").textContent = channel ? `Grey levels ${shortNumber(channel.low)} to ${shortNumber(channel.high)} in all fields${DATA.scale > 1 ? `; shown at 1/${DATA.scale} of their size` : ""}.` : "";
    $("thumbs").replaceChildren(...DATA.fields.flatMap((field, f) => {
      if (field.condition !== +$("sheet-condition").value) return [];
      const entry = element("li"), button = element("button"), canvas = Object.assign(document.createElement("canvas"), { width: 340, height: 340 });
      button.type = "button";
      button.append(canvas, element("span", `${field.id} · ${Object.entries(field.n).map(([k, n]) => `${n} ${DATA.units.find((u) => u.key === k).plural}`).join(", ")}`));
      if (field.flagged.length) button.append(element("span", `⚠ ${field.flagged.join("; ")}`, "flag"));
      button.addEventListener("click", () => openField(f));
      canvas.dataset.field = f;
      entry.append(button);
      watcher.observe(canvas);
      return [entry];
    }));
  };
  for (const id of ["sheet-condition", "sheet-channel"]) $(id).addEventListener("change", show);
  show();
}

async function thumbnail(canvas) {
  const image = await picture(DATA.fields[canvas.dataset.field], $("sheet-channel").value);
  if (!image) return;
  const zoom = Math.min(canvas.width / image.width, canvas.height / image.height);
  canvas.getContext("2d").drawImage(image, (canvas.width - image.width * zoom) / 2, (canvas.height - image.height * zoom) / 2, image.width * zoom, image.height * zoom);
}

function table(made) {
  const frame = element("div", undefined, "scroll"), shown = element("table"), head = element("tr");
  frame.tabIndex = 0;
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", made.title);
  shown.append(element("caption", made.title));
  const isText = made.columns.map((_, k) => made.rows.some((row) => typeof row[k] === "string"));
  made.columns.forEach((name, k) => head.append(Object.assign(element("th", name, isText[k] ? "text" : ""), { scope: "col" })));
  shown.append(element("thead"), element("tbody"));
  shown.tHead.append(head);
  for (const row of made.rows) {
    const line = element("tr");
    row.forEach((value, k) => line.append(element("td", typeof value === "number" ? shortNumber(value) : value === null ? "–" : String(value), isText[k] ? "text" : "")));
    shown.tBodies[0].append(line);
  }
  frame.append(shown);
  return frame;
}

function texts() {
  $("title").textContent = DATA.title;
  $("summary").textContent = DATA.summary;
  $("answer-body").append(...DATA.answer.map((line) => element("p", line)), ...DATA.answer_tables.map(table));
  $("tables").append(...DATA.tables.map(table));
  const quality = $("quality-body");
  for (const [title, lines, good] of DATA.quality) {
    quality.append(element("h3", title));
    if (!lines.length) quality.append(element("p", good, "note good"));
    else quality.append(Object.assign(element("ul", undefined, "plain"), {}));
    for (const line of lines) quality.lastChild.append(element("li", line));
  }
  quality.append(...DATA.quality_tables.map(table));
  for (const [title, text] of DATA.about) $("about-body").append(element("h3", title), element("pre", text));
}

setUnit(DATA.units[0].key);
controls();
redraw();
key();
texts();
thumbnails();
document.documentElement.dataset.ready = "yes";
