"use strict";
// What the page holds: tables as typed arrays, pictures as base64 that is decoded when it is looked at.
const DATA = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);

function bytesOf(base64) {
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

const KINDS = { f32: Float32Array, u32: Uint32Array, u8: Uint8Array };
function arrayOf(packed) {
  return new KINDS[packed.type](bytesOf(packed.data).buffer);
}

for (const unit of DATA.units) {
  for (const name of ["field", "label", "x", "y", "bits"]) unit[name] = arrayOf(unit[name]);
  unit.condition = unit.field.map((f) => DATA.fields[f].condition);
  unit.replicate = unit.field.map((f) => DATA.fields[f].replicate);
  unit.cache = {};
  unit.at = {};
  for (let i = 0; i < unit.n; i++) (unit.at[unit.field[i]] ||= {})[unit.label[i]] = i;
}

function column(unit, key) {
  if (!unit.cache[key]) unit.cache[key] = arrayOf(unit.columns.find((c) => c.key === key).values);
  return unit.cache[key];
}

// The last pictures stay decoded.
const decoded = new Map();
function remembered(id, make) {
  if (!decoded.has(id)) {
    decoded.set(id, make());
    if (decoded.size > 40) decoded.delete(decoded.keys().next().value);
  }
  return decoded.get(id);
}

function bitmap(id, type) {
  return remembered(id, () => {
    const blob = new Blob([bytesOf($(id).textContent)], { type });
    return createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  });
}

function picture(field, channel) {
  const id = field.pictures[channel];
  return id === undefined ? Promise.resolve(null) : bitmap(id, "image/webp");
}

function idsOf(field, unitKey) {
  const id = field.ids[unitKey];
  if (id === undefined) return Promise.resolve(null);
  return remembered("ids" + id, async () => {
    const image = await bitmap(id, "image/png");
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
    context.drawImage(image, 0, 0);
    const colours = context.getImageData(0, 0, image.width, image.height).data;
    const ids = new Uint32Array(image.width * image.height);
    for (let i = 0; i < ids.length; i++) ids[i] = colours[4 * i] | (colours[4 * i + 1] << 8) | (colours[4 * i + 2] << 16);
    return { width: image.width, height: image.height, ids };
  });
}

function shortNumber(value) {
  if (value === null || Number.isNaN(value)) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Math.abs(value) >= 1000 ? value.toLocaleString("en", { maximumFractionDigits: 1 }) : String(Number(value.toPrecision(5)));
}

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function options(select, entries) {
  select.replaceChildren(...entries.map(([value, text]) => Object.assign(element("option", text), { value })));
}
