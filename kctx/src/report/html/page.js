"use strict";
// Draws what the page's JSON holds. All text goes through textContent or a canvas: none of it is markup.
addEventListener("error", (event) => { document.documentElement.dataset.error = event.message; });
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;
  byId("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    drawAll();
  });
  for (const wide of document.querySelectorAll(".wide")) wide.tabIndex = 0;
  if (!data) { drawAll = () => {}; root.dataset.drawn = "nothing"; return; }
  byId("undrawn").remove();
  byId("spilled").hidden = !data.spilled;

  // --- numbers -----------------------------------------------------------------------------------------------
  const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%()*+,-./";
  const VALUE = new Map([...LETTERS].map((letter, value) => [letter, value]));
  // Two letters a number of 12 bits, then how often it comes, where that is more than once.
  function decoded(text) {
    const numbers = [];
    for (const [, first, second, times] of text.matchAll(/([^\d])([^\d])(\d*)/g)) {
      const number = VALUE.get(first) * 64 + VALUE.get(second);
      for (let left = times ? Number(times) : 1; left > 0; left--) numbers.push(number);
    }
    return numbers;
  }
  const share = (coded) => coded / 4095;
  const countOf = (magnitude) => magnitude ? Math.round(2 ** ((magnitude - 1) / 64)) : 0;
  const percent = (part) => part === 0 ? "0 %" : part < 0.001 ? "<0.1 %" : (part * 100).toFixed(1) + " %";
  function duration(ns) {
    for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]]) {
      if (ns >= size) { const value = ns / size; return (value < 9.995 ? value.toFixed(2) : value < 99.95 ? value.toFixed(1) : value.toFixed(0)) + " " + unit; }
    }
    return ns + " ns";
  }
  function brief(count) {
    for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) if (count >= size) return (count / size).toPrecision(3) + " " + unit;
    return String(Math.round(count));
  }
  byId("spilled").textContent = brief(data.spilled) + " executions went into the kernel's histograms, which have no time: they are not drawn here.";
  const color = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const laneColor = (lane) => color("--c-" + (lane.kind === "softirq" ? lane.name : lane.kind)) || color("--soft");

  // --- a canvas, its size, its tooltip -----------------------------------------------------------------------
  const tip = byId("tip");
  function show(text, x, y) {
    tip.textContent = text; tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(8, Math.min(x + 14, innerWidth - box.width - 8)) + "px";
    tip.style.top = (y + 18 + box.height > innerHeight ? Math.max(8, y - box.height - 12) : y + 18) + "px";
  }
  const hide = () => { tip.hidden = true; };
  addEventListener("scroll", hide, { passive: true });
  addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  const FONT = "11px system-ui, sans-serif";
  function paper(canvas, height) {
    const scale = devicePixelRatio || 1, width = canvas.clientWidth || 300;
    canvas.style.height = height + "px";
    canvas.width = Math.round(width * scale); canvas.height = Math.round(height * scale);
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0); pen.font = FONT; pen.clearRect(0, 0, width, height);
    return { pen, width, height };
  }
  // The tooltip of a place, by pointer, or by arrow keys: `steps` says how far one goes.
  function explained(canvas, text, steps, chosen) {
    let at = null;
    const say = (x, y) => {
      const box = canvas.getBoundingClientRect(), what = text(x, y);
      if (what) show(what, box.left + x, box.top + y); else hide();
    };
    canvas.addEventListener("pointermove", (event) => { at = { x: event.offsetX, y: event.offsetY }; say(at.x, at.y); });
    canvas.addEventListener("pointerdown", (event) => say(event.offsetX, event.offsetY));
    canvas.addEventListener("pointerleave", hide);
    canvas.addEventListener("blur", hide);
    if (chosen) canvas.addEventListener("click", (event) => chosen(event.offsetX, event.offsetY));
    canvas.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      const step = steps();
      at = at || { x: step.left + step.x / 2, y: step.top + step.y / 2 };
      if (event.key === "Enter" && chosen) chosen(at.x, at.y);
      if (!move) return;
      event.preventDefault();
      at.x = Math.max(step.left + 0.5, Math.min(at.x + move[0] * step.x, canvas.clientWidth - step.right - 0.5));
      at.y = Math.max(step.top, Math.min(at.y + move[1] * step.y, canvas.clientHeight - 1));
      say(at.x, at.y);
    });
  }

  // --- the time axis -----------------------------------------------------------------------------------------
  const LEFT = 46, RIGHT = 6, AXIS = 18;
  const span = data.window_ns || 1;
  const xOf = (ns, width) => LEFT + (width - LEFT - RIGHT) * Math.min(ns / span, 1);
  const nsOf = (x, width) => Math.max(0, Math.min(1, (x - LEFT) / (width - LEFT - RIGHT))) * span;
  const slotOf = (ns) => Math.min(data.slots - 1, Math.floor(ns / data.slot_ns));
  const inTime = (x, width) => x >= LEFT && x <= width - RIGHT;
  function timeAxis({ pen, width }, bottom) {
    const wish = span / Math.max(2, (width - LEFT) / 90), size = 10 ** Math.floor(Math.log10(wish));
    const step = [1, 2, 5, 10].map((n) => n * size).find((n) => n >= wish);
    pen.fillStyle = color("--soft"); pen.textBaseline = "top";
    for (let ns = 0; ns <= span; ns += step) {
      const x = xOf(ns, width);
      pen.fillRect(x, bottom, 1, 4);
      pen.textAlign = x > width - 24 ? "right" : ns ? "center" : "left";
      pen.fillText(ns ? duration(ns) : "0", x, bottom + 5);
    }
    pen.textAlign = "left";
  }
  function markEvents({ pen, width }, top, bottom) {
    for (const event of data.events) {
      if (event.kind === "log") continue;
      pen.fillStyle = eventColor(event.kind);
      pen.globalAlpha = 0.6; pen.fillRect(xOf(event.at_ns, width), top, 1, bottom - top); pen.globalAlpha = 1;
    }
  }

  // --- contexts ----------------------------------------------------------------------------------------------
  const cpus = data.cpus.map((one) => ({ cpu: one.cpu, shares: one.shares.map((text) => decoded(text).map(share)) }));
  const average = data.lanes.map((_, lane) => Array.from({ length: data.slots }, (_, slot) =>
    cpus.reduce((sum, one) => sum + (one.shares[lane][slot] || 0), 0) / Math.max(1, cpus.length)));
  const laneSelect = byId("lane"), cpuSelect = byId("cpu");
  function option(select, value, text) {
    const one = document.createElement("option");
    one.value = value; one.textContent = text; select.append(one);
  }
  option(laneSelect, "", "all kernel contexts");
  data.lanes.forEach((lane, index) => option(laneSelect, index, lane.name));
  option(cpuSelect, "", "all");
  cpus.forEach((one, index) => option(cpuSelect, index, "CPU " + one.cpu));
  const lanesShown = () => laneSelect.value === "" ? data.lanes.map((_, index) => index) : [Number(laneSelect.value)];
  const sharesShown = () => cpuSelect.value === "" ? average : cpus[Number(cpuSelect.value)].shares;
  const whoShown = () => cpuSelect.value === "" ? (cpus.length === 1 ? "the CPU" : "all " + cpus.length + " CPUs") : "CPU " + cpus[Number(cpuSelect.value)].cpu;
  const sumOf = (shares, slot) => lanesShown().reduce((sum, lane) => sum + (shares[lane][slot] || 0), 0);

  const AREA = 190;
  let areaTop = 1;
  function drawArea() {
    byId("areatitle").textContent = "Share of the time by context, " + whoShown();
    const sheet = paper(byId("area"), AREA), { pen, width } = sheet, bottom = AREA - AXIS, shares = sharesShown();
    let most = 0;
    for (let slot = 0; slot < data.slots; slot++) most = Math.max(most, sumOf(shares, slot));
    areaTop = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1].find((top) => most <= top) || 1;
    const yOf = (part) => bottom - (bottom - 6) * Math.min(1, part / areaTop);
    pen.textBaseline = "middle"; pen.textAlign = "right";
    for (const part of [0, 0.5, 1]) {
      const y = yOf(part * areaTop);
      pen.fillStyle = color("--line"); pen.fillRect(LEFT, y, width - LEFT - RIGHT, 1);
      pen.fillStyle = color("--soft"); pen.fillText(+(part * areaTop * 100).toFixed(2) + " %", LEFT - 5, Math.max(7, y));
    }
    const base = new Array(data.slots).fill(0);
    for (const lane of lanesShown()) {
      pen.fillStyle = laneColor(data.lanes[lane]);
      for (let slot = 0; slot < data.slots; slot++) {
        const part = shares[lane][slot] || 0;
        if (!part) continue;
        const x = xOf(slot * data.slot_ns, width), end = xOf((slot + 1) * data.slot_ns, width);
        const from = yOf(base[slot]), to = yOf(base[slot] + part);
        pen.fillRect(x, to, Math.max(1, end - x), from - to);
        base[slot] += part;
      }
    }
    markEvents(sheet, 4, bottom); timeAxis(sheet, bottom);
  }
  function atSlot(shares, slot) {
    const parts = lanesShown().map((lane) => [data.lanes[lane].name, shares[lane][slot] || 0]).filter((one) => one[1] > 0);
    parts.sort((a, b) => b[1] - a[1]);
    return parts.length ? parts.map(([name, part]) => name + " " + percent(part)).join("\n") : "nothing that was seen";
  }
  const slotText = (slot) => duration(slot * data.slot_ns) + " to " + duration(Math.min((slot + 1) * data.slot_ns, span));
  explained(byId("area"), (x) => {
    const width = byId("area").clientWidth;
    if (!inTime(x, width)) return "";
    const slot = slotOf(nsOf(x, width));
    return whoShown() + ", " + slotText(slot) + "\n" + atSlot(sharesShown(), slot);
  }, () => ({ x: Math.max(2, (byId("area").clientWidth - LEFT - RIGHT) / data.slots), y: 1, left: LEFT, right: RIGHT, top: 90 }));

  const legend = byId("legend");
  function drawLegend() {
    legend.replaceChildren(...data.lanes.map((lane, index) => {
      const item = document.createElement("li"), box = document.createElement("i");
      box.style.background = laneColor(lane);
      const sum = sharesShown()[index].reduce((all, part) => all + part, 0) / Math.max(1, data.slots);
      item.append(box, lane.name + " " + percent(sum));
      return item;
    }));
  }

  const rowHeight = () => Math.max(4, Math.min(20, Math.floor(420 / Math.max(1, cpus.length))));
  const HEAT = ["--heat0", "--heat1", "--heat2", "--heat3"];
  function ramp() {
    const stops = HEAT.map((name) => color(name).match(/[\da-f]{2}/gi).map((hex) => parseInt(hex, 16)));
    return Array.from({ length: 64 }, (_, index) => {
      const at = index / 63 * (stops.length - 1), low = Math.min(stops.length - 2, Math.floor(at)), part = at - low;
      return "rgb(" + stops[low].map((value, i) => Math.round(value + (stops[low + 1][i] - value) * part)).join() + ")";
    });
  }
  function drawCpus() {
    const height = rowHeight(), top = 2, bottom = top + height * cpus.length;
    const sheet = paper(byId("cpus"), bottom + AXIS), { pen, width } = sheet, shades = ramp();
    byId("cpustitle").textContent = "Each CPU, " + (laneSelect.value === "" ? "all kernel contexts" : data.lanes[laneSelect.value].name) + ": the stronger the colour, the more of its time (full at 100 %)" + (data.left_out ? "; records of more CPUs are not here: " + brief(data.left_out) : "");
    const every = Math.ceil(13 / height);
    cpus.forEach((one, row) => {
      const y = top + row * height;
      if (row % every === 0) {
        pen.fillStyle = color("--soft"); pen.textAlign = "right"; pen.textBaseline = "middle";
        pen.fillText(String(one.cpu), LEFT - 6, y + Math.max(6, height / 2));
      }
      pen.fillStyle = color("--line"); pen.globalAlpha = 0.35;
      pen.fillRect(LEFT, y, width - LEFT - RIGHT, height - (height > 6 ? 1 : 0)); pen.globalAlpha = 1;
      for (let slot = 0; slot < data.slots; slot++) {
        const part = sumOf(one.shares, slot);
        if (part <= 0) continue;
        // Square root: what takes 1 % is to be seen beside what takes all.
        pen.fillStyle = shades[Math.min(63, Math.floor(Math.sqrt(part) * 63))];
        const x = xOf(slot * data.slot_ns, width);
        pen.fillRect(x, y, Math.max(1, xOf((slot + 1) * data.slot_ns, width) - x + 0.3), height - (height > 6 ? 1 : 0));
      }
      if (cpuSelect.value === String(row)) { pen.fillStyle = color("--accent"); pen.fillRect(LEFT - 4, y, 3, Math.max(3, height - 1)); }
    });
    markEvents(sheet, top, bottom); timeAxis(sheet, bottom);
  }
  const cpuAt = (y) => Math.max(0, Math.min(cpus.length - 1, Math.floor((y - 2) / rowHeight())));
  explained(byId("cpus"), (x, y) => {
    const width = byId("cpus").clientWidth, one = cpus[cpuAt(y)];
    if (!one || !inTime(x, width)) return "";
    const slot = slotOf(nsOf(x, width));
    return "CPU " + one.cpu + ", " + slotText(slot) + "\n" + atSlot(one.shares, slot);
  }, () => ({ x: Math.max(2, (byId("cpus").clientWidth - LEFT - RIGHT) / data.slots), y: rowHeight(), left: LEFT, right: RIGHT, top: 2 }),
  (_, y) => { cpuSelect.value = cpuSelect.value === String(cpuAt(y)) ? "" : String(cpuAt(y)); drawWhen(); });

  // --- devices -----------------------------------------------------------------------------------------------
  const devices = data.devices.map((one) => ({ ...one, shares: decoded(one.shares).map(share) }));
  const DEVICE = 44;
  function drawDevices() {
    byId("devicesfigure").hidden = !devices.length;
    if (!devices.length) return;
    const sheet = paper(byId("devices"), devices.length * DEVICE + AXIS), { pen, width } = sheet;
    devices.forEach((one, row) => {
      const bottom = (row + 1) * DEVICE - 2, top = bottom - 24;
      pen.fillStyle = color("--ink"); pen.textAlign = "left"; pen.textBaseline = "bottom";
      pen.fillText(one.name + ": " + brief(one.packets) + " packets in " + brief(one.polls) + " polls, at most " + brief(one.most * 1e9 / data.slot_ns) + "/s", LEFT, top - 2, width - LEFT - RIGHT);
      pen.fillStyle = color("--c-NET_RX");
      one.shares.forEach((part, slot) => {
        if (!part) return;
        const x = xOf(slot * data.slot_ns, width), height = Math.max(1, part * 24);
        pen.fillRect(x, bottom - height, Math.max(1, xOf((slot + 1) * data.slot_ns, width) - x), height);
      });
      pen.fillStyle = color("--line"); pen.fillRect(LEFT, bottom, width - LEFT - RIGHT, 1);
    });
    timeAxis(sheet, devices.length * DEVICE);
  }
  explained(byId("devices"), (x, y) => {
    const width = byId("devices").clientWidth, one = devices[Math.min(devices.length - 1, Math.floor(y / DEVICE))];
    if (!one || !inTime(x, width)) return "";
    const slot = slotOf(nsOf(x, width));
    return one.name + ", " + slotText(slot) + "\n" + brief((one.shares[slot] || 0) * one.most) + " packets";
  }, () => ({ x: Math.max(2, (byId("devices").clientWidth - LEFT - RIGHT) / data.slots), y: DEVICE, left: LEFT, right: RIGHT, top: 20 }));

  // --- events ------------------------------------------------------------------------------------------------
  const KINDS = ["module", "taint", "warning", "log", "governor"];
  const eventColor = (kind) => color({ module: "--c-BLOCK", taint: "--crit", warning: "--warn", log: "--soft", governor: "--c-RCU" }[kind]);
  const EVENT = 18, kinds = KINDS.filter((kind) => data.events.some((event) => event.kind === kind));
  function drawEvents() {
    byId("eventsfigure").hidden = !kinds.length;
    if (!kinds.length) return;
    const sheet = paper(byId("events"), kinds.length * EVENT + AXIS), { pen, width } = sheet;
    kinds.forEach((kind, row) => {
      pen.fillStyle = color("--soft"); pen.textAlign = "right"; pen.textBaseline = "middle";
      pen.fillText(kind, LEFT - 6, row * EVENT + EVENT / 2, LEFT - 8);
      pen.fillStyle = color("--line"); pen.fillRect(LEFT, (row + 0.5) * EVENT, width - LEFT - RIGHT, 1);
      pen.fillStyle = eventColor(kind);
      for (const event of data.events) if (event.kind === kind) pen.fillRect(xOf(event.at_ns, width) - 1.5, row * EVENT + 3, 3, EVENT - 6);
    });
    timeAxis(sheet, kinds.length * EVENT);
  }
  explained(byId("events"), (x, y) => {
    const width = byId("events").clientWidth, kind = kinds[Math.floor(y / EVENT)];
    const near = data.events.filter((event) => event.kind === kind && Math.abs(xOf(event.at_ns, width) - x) < 6);
    const lines = near.slice(0, 6).map((event) => duration(event.at_ns) + " " + event.text);
    if (near.length > 6) lines.push("and " + (near.length - 6) + " more");
    return lines.join("\n");
  }, () => ({ x: 4, y: EVENT, left: LEFT, right: RIGHT, top: EVENT / 2 }));

  // --- latency -----------------------------------------------------------------------------------------------
  const buckets = data.bucket_ns.length, HEATMAP = 150;
  const heats = data.heats.map((one) => {
    const cells = decoded(one.cells).map(countOf), sums = new Array(buckets).fill(0);
    cells.forEach((count, index) => { sums[index % buckets] += count; });
    const used = sums.map((count, bucket) => count ? bucket : -1).filter((bucket) => bucket >= 0);
    const figure = document.createElement("figure"), caption = document.createElement("figcaption"), canvas = document.createElement("canvas");
    const small = document.createElement("small");
    small.textContent = " " + brief(one.count) + (one.of === "interrupt" ? " calls" : " runs");
    caption.append((one.of === "interrupt" ? "irq " : "") + one.name + " " + one.what, small);
    canvas.tabIndex = 0; canvas.setAttribute("role", "img"); canvas.setAttribute("aria-label", one.name + " " + one.what + " by time and duration");
    figure.append(caption, canvas);
    const heat = { ...one, cells, sums, canvas, figure, low: Math.max(0, Math.min(...used) - 1), high: Math.min(buckets - 1, Math.max(...used) + 1) };
    explained(canvas, (x, y) => heatText(heat, x, y), () => ({ x: heatWide(heat) / data.columns, y: rowOf(heat), left: LEFT, right: RIGHT, top: 2 }));
    return heat;
  });
  byId("heats").append(...heats.map((heat) => heat.figure));
  const rowOf = (heat) => (HEATMAP - AXIS - 4) / (heat.high - heat.low + 1);
  const heatWide = (heat) => (heat.canvas.clientWidth - LEFT - RIGHT) * 0.76;
  function heatText(heat, x, y) {
    const bucket = heat.high - Math.floor((y - 2) / rowOf(heat));
    if (bucket < heat.low || bucket > heat.high || x < LEFT) return "";
    const range = duration(data.bucket_ns[bucket]) + " to " + (bucket + 1 < buckets ? duration(data.bucket_ns[bucket + 1]) : "more");
    const column = Math.floor((x - LEFT) / heatWide(heat) * data.columns);
    if (column >= data.columns) return range + "\n" + brief(heat.sums[bucket]) + " in all";
    const from = column * data.column_ns, to = Math.min(span, from + data.column_ns);
    return range + "\n" + brief(heat.cells[column * buckets + bucket] || 0) + " from " + duration(from) + " to " + duration(to);
  }
  function drawHeat(heat) {
    if (heat.figure.hidden) return;
    const sheet = paper(heat.canvas, HEATMAP), { pen, width } = sheet, shades = ramp(), height = rowOf(heat), wide = heatWide(heat), bottom = HEATMAP - AXIS;
    const most = Math.log(1 + heat.cells.reduce((most, count) => Math.max(most, count), 1));
    heat.cells.forEach((count, index) => {
      if (!count) return;
      const column = Math.floor(index / buckets), bucket = index % buckets;
      pen.fillStyle = shades[Math.min(63, Math.floor(Math.log(1 + count) / most * 63))];
      pen.fillRect(LEFT + column * wide / data.columns, 2 + (heat.high - bucket) * height, Math.max(1.5, wide / data.columns + 0.3), Math.max(1, height - 0.5));
    });
    const all = heat.sums.reduce((most, count) => Math.max(most, count), 1), left = LEFT + wide + 6, room = width - RIGHT - left;
    pen.fillStyle = color("--accent");
    heat.sums.forEach((count, bucket) => {
      if (count) pen.fillRect(left, 2 + (heat.high - bucket) * height, Math.max(1, count / all * room), Math.max(1, height - 1));
    });
    pen.fillStyle = color("--soft"); pen.textAlign = "right"; pen.textBaseline = "middle";
    const every = Math.ceil(14 / height / 2) * 2;
    for (let bucket = heat.low + heat.low % 2; bucket <= heat.high; bucket += every) pen.fillText(duration(data.bucket_ns[bucket]), LEFT - 4, 2 + (heat.high - bucket + 1) * height, LEFT - 6);
    pen.fillStyle = color("--line"); pen.fillRect(LEFT, bottom - 1, wide, 1); pen.fillRect(left - 3, 2, 1, bottom - 3);
    pen.fillStyle = color("--soft"); pen.textBaseline = "top"; pen.textAlign = "left"; pen.fillText("0", LEFT, bottom + 3);
    pen.textAlign = "right"; pen.fillText(duration(span), LEFT + wide, bottom + 3);
  }
  byId("of").addEventListener("change", () => {
    const of = byId("of").value;
    for (const heat of heats) heat.figure.hidden = Boolean(of) && (of === "interrupt" ? heat.of !== of : heat.of !== "softirq" || heat.what !== of);
    heats.forEach(drawHeat);
  });
  if (!heats.length) byId("latency").hidden = true;

  // --- stacks ------------------------------------------------------------------------------------------------
  const FLAME_ROW = 21;
  let path = data.flame ? [data.flame] : [];
  function drawFlame() {
    const place = byId("flame");
    place.hidden = !data.flame;
    if (!data.flame) { byId("flamenote").textContent = "No stack was sampled, or none has a place in this part of the bundle."; return; }
    const buttons = [], width = place.clientWidth || 300;
    let depth = 0;
    const hues = color("--bg") < "#8" ? 62 : 74;
    function frame(one, left, part, above) {
      const level = above.length;
      depth = Math.max(depth, level + 1);
      const button = document.createElement("button");
      button.type = "button"; button.textContent = one.name;
      let hash = 0;
      for (const letter of one.name) hash = (hash * 31 + letter.charCodeAt(0)) % 997;
      button.style.background = "hsl(" + (level === 0 ? 215 : 15 + hash % 40) + " 75% " + (hues - hash % 9) + "%)";
      button.style.left = left * width + "px"; button.style.width = Math.max(1, part * width) + "px"; button.style.top = level * FLAME_ROW + "px";
      const text = one.name + "\n" + brief(one.samples) + " samples, " + percent(one.samples / data.flame.samples) + " of all";
      button.setAttribute("aria-label", text.replace("\n", ", "));
      button.addEventListener("pointermove", (event) => show(text, event.clientX, event.clientY));
      button.addEventListener("pointerleave", hide);
      button.addEventListener("focus", () => { const box = button.getBoundingClientRect(); if (button.matches(":focus-visible")) show(text, box.left, box.top); });
      button.addEventListener("blur", hide);
      button.addEventListener("click", () => { hide(); path = above.concat(one); drawFlame(); });
      buttons.push(button);
      let at = left;
      for (const call of [...(one.calls || [])].sort((a, b) => b.samples - a.samples)) {
        const wide = part * call.samples / Math.max(1, one.samples);
        if (wide * width >= 1) frame(call, at, wide, above.concat(one));
        at += wide;
      }
    }
    const chosen = path[path.length - 1];
    // What leads to the chosen frame stands above it, as wide as it.
    path.slice(0, -1).forEach((one, level) => { frame({ ...one, calls: [] }, 0, 1, path.slice(0, level)); buttons[buttons.length - 1].onclick = () => { path = path.slice(0, level + 1); drawFlame(); }; });
    frame(chosen, 0, 1, path.slice(0, -1));
    place.replaceChildren(...buttons);
    place.style.height = depth * FLAME_ROW + "px";
  }

  // --- all of it ---------------------------------------------------------------------------------------------
  function drawWhen() { drawArea(); drawLegend(); drawCpus(); }
  laneSelect.addEventListener("change", drawWhen);
  cpuSelect.addEventListener("change", drawWhen);
  function drawAll() { hide(); drawWhen(); drawDevices(); drawEvents(); heats.forEach(drawHeat); drawFlame(); }
  let drawnAt = 0;
  addEventListener("resize", () => { if (innerWidth !== drawnAt) { drawnAt = innerWidth; drawAll(); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  addEventListener("beforeprint", drawAll);
  drawnAt = innerWidth;
  drawAll();
  root.dataset.drawn = [cpus.length, data.lanes.length, heats.length, devices.length, data.events.length, data.flame ? byId("flame").childElementCount : 0].join(" ");
})();
