// One cell beside the figure, and its field: pictures, outlines from the ids, what is under the mouse.
const CROP = 104;

function outline(ids, label, left, top, width, height, mark) {
  const inside = (x, y) => x >= 0 && y >= 0 && x < ids.width && y < ids.height && ids.ids[y * ids.width + x] === label;
  for (let y = Math.max(0, top); y < Math.min(ids.height, top + height); y++) {
    for (let x = Math.max(0, left); x < Math.min(ids.width, left + width); x++) {
      if (inside(x, y) && !(inside(x - 1, y) && inside(x + 1, y) && inside(x, y - 1) && inside(x, y + 1))) mark(x, y);
    }
  }
}

function box(ids, label, x, y) {
  // Grown from the centroid's surroundings until the label's edge lies within.
  let half = 16;
  for (; half < 4096; half *= 2) {
    let touches = false;
    for (let d = -half; d <= half && !touches; d++) {
      for (const [a, b] of [[x + d, y - half], [x + d, y + half], [x - half, y + d], [x + half, y + d]]) {
        if (a >= 0 && b >= 0 && a < ids.width && b < ids.height && ids.ids[b * ids.width + a] === label) touches = true;
      }
    }
    if (!touches) break;
  }
  return half;
}

async function crops(unit, i, field) {
  const ids = await idsOf(field, unit.key), x = Math.floor(unit.x[i] / field.scale), y = Math.floor(unit.y[i] / field.scale);
  const half = Math.max(14, Math.min(box(ids, unit.label[i], x, y) + 4, Math.max(ids.width, ids.height)));
  const made = [];
  for (let c = 0; c < DATA.channels.length; c++) {
    const image = await picture(field, c);
    if (!image) continue;
    const canvas = Object.assign(document.createElement("canvas"), { width: 2 * CROP, height: 2 * CROP });
    const context = canvas.getContext("2d"), zoom = canvas.width / (2 * half);
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingEnabled = zoom < 3;
    context.drawImage(image, (half - x) * zoom, (half - y) * zoom, image.width * zoom, image.height * zoom);
    context.fillStyle = "#ffd600";
    outline(ids, unit.label[i], x - half, y - half, 2 * half, 2 * half, (a, b) => {
      const side = Math.max(1.5, Math.min(3, zoom / 2));
      context.fillRect((a - x + half + 0.5) * zoom - side / 2, (b - y + half + 0.5) * zoom - side / 2, side, side);
    });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${DATA.channels[c].name} around ${unit.word} ${unit.label[i]}`);
    const figure = element("figure");
    figure.append(canvas, element("figcaption", DATA.channels[c].name));
    made.push(figure);
  }
  return made;
}

let asked = 0;
async function choose(i) {
  const unit = plot.unit, field = DATA.fields[unit.field[i]], turn = ++asked;
  plot.chosen = i;
  draw();
  const name = String(unit.label[i]).padStart(5, "0");
  $("cell-h").textContent = `${unit.word} ${name} of ${field.id}`;
  const measure = unit.columns.find((c) => c.key === plot.measure);
  $("cell-say").textContent = `${unit.word} ${unit.label[i]}, field ${field.id}, ${DATA.conditions[field.condition]}, ${measure.label}: ${shortNumber(column(unit, plot.measure)[i])}`;
  const rows = [
    ["Condition", DATA.conditions[field.condition]], ["Replicate", DATA.replicates[field.replicate] || "–"],
    ...DATA.bits.map((b, k) => [b.words, (unit.bits[i] >> k) & 1 ? "yes" : "no"]).filter(([, v], k) => v === "yes" || DATA.bits[k].always),
    ...(unit.classes ? [["Class", DATA.classes[unit.classes_of[i]] || "–"]] : []),
    ...unit.columns.map((c) => [c.label, shortNumber(column(unit, c.key)[i])]),
  ];
  $("cell-numbers").replaceChildren(...rows.flatMap(([key, value]) => [element("dt", key), element("dd", value)]));
  $("roi").textContent = `In Fiji: ROI ${name} of ${field.id}${unit.key === "nucleus" ? "_nuclei" : ""}_RoiSet.zip`;
  $("open-field").hidden = false;
  const made = await crops(unit, i, field);
  if (turn === asked) $("crops").replaceChildren(...made);
}

const view = { field: -1, ids: null };
async function openField(f) {
  view.field = f;
  const field = DATA.fields[f], dialog = $("view");
  $("view-h").textContent = `${field.id} · ${DATA.conditions[field.condition]}`;
  options($("view-channel"), Object.keys(field.pictures).map((c) => [c, DATA.channels[c].name]));
  const at = $("sheet-channel").value;
  if (field.pictures[at] !== undefined) $("view-channel").value = at;
  const before = field.ids.before === undefined ? [] : [["before", "cells before the correction"]];
  options($("view-outlines"), [...DATA.units.filter((u) => field.ids[u.key] !== undefined).map((u) => [u.key, u.plural]), ...before, ["", "none"]]);
  if (field.ids[plot.unit.key] !== undefined) $("view-outlines").value = plot.unit.key;
  if (!dialog.open) dialog.showModal();
  $("view-canvas").focus();
  await drawField();
}

const hot = DATA.bits.length > 0 && DATA.bits[0].key === "positive";
async function drawField() {
  const f = view.field, field = DATA.fields[f], key = $("view-outlines").value, canvas = $("view-canvas");
  const image = await picture(field, $("view-channel").value), ids = key ? await idsOf(field, key) : null;
  if (f !== view.field || !image) return;
  view.ids = ids;
  canvas.width = image.width;
  canvas.height = image.height;
  // As large as the window allows; small fields in whole pixels.
  const zoom = Math.min((window.innerWidth * 0.96 - 40) / image.width, (window.innerHeight * 0.96 - 130) / image.height);
  canvas.style.width = `${Math.round(image.width * (zoom > 2 ? Math.floor(zoom) : zoom))}px`;
  canvas.style.imageRendering = zoom > 2 ? "pixelated" : "auto";
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  if (!ids) return;
  const unit = DATA.units.find((u) => u.key === key), pixels = context.getImageData(0, 0, image.width, image.height), own = unit && unit === plot.unit && plot.chosen >= 0 && unit.field[plot.chosen] === f ? unit.label[plot.chosen] : -1;
  for (let y = 0; y < ids.height; y++) {
    for (let x = 0; x < ids.width; x++) {
      const k = y * ids.width + x, id = ids.ids[k];
      if (!id || (x > 0 && x < ids.width - 1 && y > 0 && y < ids.height - 1 && ids.ids[k - 1] === id && ids.ids[k + 1] === id && ids.ids[k - ids.width] === id && ids.ids[k + ids.width] === id)) continue;
      const i = unit && unit.at[f] && unit.at[f][id], positive = hot && i !== undefined && unit.bits[i] & 1;
      pixels.data.set(id === own ? [255, 255, 255, 255] : positive ? [255, 120, 60, 255] : [255, 214, 0, 255], 4 * k);
    }
  }
  context.putImageData(pixels, 0, 0);
  const n = unit ? Object.keys(unit.at[f] || {}).length : new Set(ids.ids).size - 1;
  $("view-help").textContent = `${n} ${unit ? unit.plural : "cells before the correction"}${hot ? "; positive ones in orange" : ""}. Click one to choose it. Esc closes.`;
}

function pick(event) {
  if (!view.ids) return;
  const canvas = $("view-canvas"), frame = canvas.getBoundingClientRect();
  const x = Math.floor(((event.clientX - frame.left) * canvas.width) / frame.width), y = Math.floor(((event.clientY - frame.top) * canvas.height) / frame.height);
  const id = view.ids.ids[y * view.ids.width + x], unit = DATA.units.find((u) => u.key === $("view-outlines").value);
  const i = id && unit && unit.at[view.field] ? unit.at[view.field][id] : undefined;
  if (i === undefined) return;
  if (unit !== plot.unit) setUnit(unit.key);
  choose(i).then(drawField);
}
