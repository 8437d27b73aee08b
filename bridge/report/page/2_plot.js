// The figure: a dot for each cell, a large symbol for each replicate's mean, bars for mean and SD of the replicates.
const plot = { unit: DATA.units[0], measure: "", log: false, shown: [], px: null, py: null, chosen: -1 };

function wanted() {
  const unit = plot.unit, c = $("condition").value, r = $("replicate").value, f = $("field").value, show = $("show").value;
  const bit = DATA.bits.findIndex((b) => b.key === show.replace(/^not /, ""));
  const values = column(unit, plot.measure), found = [];
  for (let i = 0; i < unit.n; i++) {
    if (c !== "" && unit.condition[i] !== +c) continue;
    if (r !== "" && unit.replicate[i] !== +r) continue;
    if (f !== "" && unit.field[i] !== +f) continue;
    if (show === "flagged" && !DATA.fields[unit.field[i]].flagged.length) continue;
    if (bit >= 0 && ((unit.bits[i] >> bit) & 1) !== (show.startsWith("not ") ? 0 : 1)) continue;
    if (Number.isNaN(values[i])) continue;
    found.push(i);
  }
  return found;
}

function marker(context, kind, x, y, size) {
  context.beginPath();
  if (kind === 0) context.arc(x, y, size, 0, 2 * Math.PI);
  else if (kind === 1) context.rect(x - size * 0.9, y - size * 0.9, size * 1.8, size * 1.8);
  else {
    const corners = kind === 2 ? [[0, -1.2], [1.1, 0.8], [-1.1, 0.8]] : kind === 3 ? [[0, -1.3], [1.1, 0], [0, 1.3], [-1.1, 0]] : [[0, 1.2], [1.1, -0.8], [-1.1, -0.8]];
    corners.forEach(([a, b], k) => (k ? context.lineTo : context.moveTo).call(context, x + a * size, y + b * size));
    context.closePath();
  }
}

function lookOf(replicate) {
  return { colour: DATA.colours[replicate % DATA.colours.length], kind: (replicate + Math.floor(replicate / DATA.colours.length)) % 5 };
}

function ticks(low, high, log) {
  if (log) {
    const found = [];
    for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++) for (const m of [1, 2, 5]) found.push(m * 10 ** p);
    return found.filter((v) => v >= low && v <= high);
  }
  const raw = (high - low) / 6, power = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step / 1e6; v += step) found.push(Number(v.toPrecision(12)));
  return found;
}

function draw() {
  const canvas = $("plot"), unit = plot.unit, ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  plot.shown = wanted();
  const values = column(unit, plot.measure), used = [...new Set(plot.shown.map((i) => unit.condition[i]))].sort((a, b) => a - b);
  const meta = unit.columns.find((c) => c.key === plot.measure);
  let low = Infinity, high = -Infinity;
  for (const i of plot.shown) {
    if (plot.log && !(values[i] > 0)) continue;
    low = Math.min(low, values[i]);
    high = Math.max(high, values[i]);
  }
  if (!(high >= low)) [low, high] = [plot.log ? 1 : 0, plot.log ? 10 : 1];
  if (!plot.log && low > 0 && low < high / 3) low = 0;
  if (high === low) high = low + (Math.abs(low) || 1);
  const scaled = plot.log ? Math.log10 : (v) => v;
  const margin = { left: 66, right: 12, top: 34, bottom: 46 };
  const room = (scaled(high) - scaled(low)) * 0.04;
  const y = (v) => height - margin.bottom - ((scaled(v) - scaled(low) + room) / (scaled(high) - scaled(low) + 2 * room)) * (height - margin.top - margin.bottom);
  const step = (width - margin.left - margin.right) / Math.max(1, used.length);
  const centre = (c) => margin.left + step * (used.indexOf(c) + 0.5);
  plot.px = new Float32Array(unit.n).fill(-1e6);
  plot.py = new Float32Array(unit.n);

  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  for (const v of ticks(low, high, plot.log)) {
    context.strokeStyle = "#eaeef2";
    context.beginPath();
    context.moveTo(margin.left, y(v));
    context.lineTo(width - margin.right, y(v));
    context.stroke();
    context.fillStyle = "#57606a";
    context.textAlign = "right";
    context.fillText(shortNumber(v), margin.left - 6, y(v));
  }
  context.save();
  context.translate(14, (height - margin.bottom + margin.top) / 2);
  context.rotate(-Math.PI / 2);
  context.textAlign = "center";
  context.fillStyle = "#1b1f24";
  const tall = height - margin.top - margin.bottom;
  if (context.measureText(meta.label).width > tall) context.font = "10px system-ui, sans-serif";
  context.fillText(fitted(context, meta.label, tall), 0, 0);
  context.restore();

  // Dots: spread by how many share their height, always in the same way.
  const bins = 60, heap = new Map();
  const at = (i) => unit.condition[i] * 1000 + Math.floor(((y(values[i]) - margin.top) / height) * bins);
  const drawable = plot.shown.filter((i) => !plot.log || values[i] > 0);
  for (const i of drawable) heap.set(at(i), (heap.get(at(i)) || 0) + 1);
  const most = Math.max(1, ...heap.values());
  const size = drawable.length > 4000 ? 1.4 : drawable.length > 800 ? 1.9 : 2.6;
  const seen = new Map(), order = [...DATA.replicates.keys()];
  for (const i of drawable) {
    const key = at(i), k = seen.get(key) || 0, n = heap.get(key);
    seen.set(key, k + 1);
    const spread = Math.min(0.42, 0.08 + 0.36 * Math.sqrt(n / most)) * step;
    plot.px[i] = centre(unit.condition[i]) + (((k * 0.618034 + 0.5) % 1) - 0.5) * 2 * spread * (n > 1 ? 1 : 0.4);
    plot.py[i] = y(values[i]);
  }
  for (const r of order) {
    const look = lookOf(r);
    context.fillStyle = look.colour;
    context.globalAlpha = drawable.length > 4000 ? 0.35 : 0.55;
    for (const i of drawable) {
      if (unit.replicate[i] !== r) continue;
      if (size < 2) context.fillRect(plot.px[i] - size, plot.py[i] - size, 2 * size, 2 * size);
      else {
        marker(context, look.kind, plot.px[i], plot.py[i], size);
        context.fill();
      }
    }
  }
  context.globalAlpha = 1;
  gateLines(context, used, centre, step, y, low, high);
  replicateMeans(context, used, centre, step, y, drawable, values);
  context.textAlign = "center";
  for (const c of used) {
    context.fillStyle = "#1b1f24";
    context.fillText(fitted(context, DATA.conditions[c], step - 6), centre(c), height - margin.bottom + 16);
    context.fillStyle = "#57606a";
    context.fillText(fitted(context, `n = ${drawable.filter((i) => unit.condition[i] === c).length.toLocaleString("en")}`, step - 6), centre(c), height - margin.bottom + 33);
    const quote = DATA.quotes[c];
    if (quote && $("replicate").value === "" && $("field").value === "" && $("show").value === "") {
      // Never cut within a number: what does not fit is left out, from the end and then from the beginning.
      const short = quote.split(" (")[0], shorter = short.slice(short.indexOf(" ") + 1);
      const said = [quote, short, shorter].find((text) => context.measureText(text).width <= step - 4);
      if (said) context.fillText(said, centre(c), 16);
    }
  }
  if (plot.chosen >= 0 && plot.px[plot.chosen] > -1e5) {
    context.strokeStyle = "#000";
    context.lineWidth = 2;
    context.beginPath();
    context.arc(plot.px[plot.chosen], plot.py[plot.chosen], 7, 0, 2 * Math.PI);
    context.stroke();
    context.lineWidth = 1;
  }
  const hidden = plot.shown.length - drawable.length;
  $("shown").textContent = `${drawable.length.toLocaleString("en")} of ${unit.n.toLocaleString("en")} ${unit.plural} shown` + (hidden ? `; ${hidden.toLocaleString("en")} at or below 0 have no place on a logarithmic scale` : "");
  canvas.setAttribute("aria-label", `${meta.label} of ${drawable.length} ${unit.plural} in ${used.length} conditions`);
}

function fitted(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  let n = text.length;
  while (n > 1 && context.measureText(text.slice(0, n) + "…").width > room) n--;
  return text.slice(0, n) + "…";
}

function gateLines(context, used, centre, step, y, low, high) {
  context.setLineDash([5, 4]);
  for (const gate of DATA.gates) {
    if (gate.measure !== plot.measure || gate.value < low || gate.value > high) continue;
    context.strokeStyle = gate.replicate < 0 ? "#1b1f24" : lookOf(gate.replicate).colour;
    context.beginPath();
    context.moveTo(centre(used[0]) - step / 2, y(gate.value));
    context.lineTo(centre(used[used.length - 1]) + step / 2, y(gate.value));
    context.stroke();
  }
  context.setLineDash([]);
}

function replicateMeans(context, used, centre, step, y, drawable, values) {
  const unit = plot.unit;
  for (const c of used) {
    const means = [];
    for (let r = 0; r < DATA.replicates.length; r++) {
      const own = drawable.filter((i) => unit.condition[i] === c && unit.replicate[i] === r);
      if (own.length) means.push([r, own.reduce((sum, i) => sum + values[i], 0) / own.length]);
    }
    if (!DATA.has_replicates) continue;
    const mean = means.reduce((sum, [, v]) => sum + v, 0) / means.length;
    const sd = means.length > 1 ? Math.sqrt(means.reduce((sum, [, v]) => sum + (v - mean) ** 2, 0) / (means.length - 1)) : 0;
    context.strokeStyle = "#000";
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(centre(c) - 0.3 * step, y(mean));
    context.lineTo(centre(c) + 0.3 * step, y(mean));
    if (sd && (!plot.log || mean - sd > 0)) {
      context.moveTo(centre(c), y(mean - sd));
      context.lineTo(centre(c), y(mean + sd));
    }
    context.stroke();
    context.lineWidth = 1;
    means.forEach(([r, v], k) => {
      const look = lookOf(r);
      marker(context, look.kind, centre(c) + (k - (means.length - 1) / 2) * Math.min(18, (0.6 * step) / means.length), y(v), 6);
      context.fillStyle = look.colour;
      context.fill();
      context.strokeStyle = "#000";
      context.stroke();
    });
  }
}

function nearest(x, y) {
  let best = -1, least = 18 ** 2;
  for (const i of plot.shown) {
    const d = (plot.px[i] - x) ** 2 + (plot.py[i] - y) ** 2;
    if (d < least) [best, least] = [i, d];
  }
  return best;
}

function walk(key) {
  const unit = plot.unit, values = column(unit, plot.measure), drawn = plot.shown.filter((i) => plot.px[i] > -1e5);
  if (!drawn.length) return -1;
  if (plot.chosen < 0 || plot.px[plot.chosen] < -1e5) return drawn[0];
  const c = unit.condition[plot.chosen], inOrder = (of) => of.sort((a, b) => values[a] - values[b] || a - b);
  if (key === "ArrowUp" || key === "ArrowDown") {
    const own = inOrder(drawn.filter((i) => unit.condition[i] === c)), k = own.indexOf(plot.chosen);
    return own[Math.max(0, Math.min(own.length - 1, k + (key === "ArrowUp" ? 1 : -1)))];
  }
  const used = [...new Set(drawn.map((i) => unit.condition[i]))].sort((a, b) => a - b);
  const next = used[Math.max(0, Math.min(used.length - 1, used.indexOf(c) + (key === "ArrowRight" ? 1 : -1)))];
  if (next === c) return plot.chosen;
  const own = drawn.filter((i) => unit.condition[i] === next);
  return own.reduce((best, i) => (Math.abs(plot.py[i] - plot.py[plot.chosen]) < Math.abs(plot.py[best] - plot.py[plot.chosen]) ? i : best), own[0]);
}
