"use strict";
// Sorts, filters and pages the cards of a page of pictures, from the rows that are in the page. The page's policy allows
// this script alone, by its hash, and forbids to make markup of text: every text here becomes a text node.
(() => {
  const [KEY, STATUS, REASON, RAW, PICTURE, BOX, PHOTO] = [0, 1, 2, 3, 4, 5, 6];
  const byId = (id) => document.getElementById(id);
  const facts = JSON.parse(byId("facts").textContent);
  const rows = JSON.parse(byId("rows").textContent);
  const list = byId("cards");
  const cards = [...list.children].filter((item) => !item.matches(".photo"));
  const photos = new Map([...list.querySelectorAll(".photo")].map((item) => [Number(item.dataset.row), item]));
  const heads = new Map([...facts.emotions, ...facts.extras].map((head) => [head.slug, head]));
  const state = { emotion: "", order: "given", show: "all", name: "", page: 0 };

  // Raw scores of all rows, NaN where there are none.
  const raw = new Float32Array(rows.length * facts.heads).fill(NaN);
  const bytes = new Uint8Array(raw.buffer);
  rows.forEach((row, i) => {
    const own = atob(row[RAW]);
    for (let j = 0; j < own.length; j++) bytes[4 * i * facts.heads + j] = own.charCodeAt(j);
  });

  // The row of the first face of each row's photograph, -1 without one.
  const picture = (i) => rows[i][KEY].replace(/::box\d+$/, "");
  let start = -1;
  const starts = rows.map((row, i) => {
    if (row[PHOTO] || photos.has(i)) start = i;
    else if (!row[BOX] || (start >= 0 && picture(start) !== picture(i))) start = -1;
    return start;
  });

  const kind = () => document.querySelector(".pick:checked").id.slice(2);
  const minus = (number) => number.replace("-", "−");
  const rawOf = (i, head) => raw[i * facts.heads + head.at];

  function values(i, which) {
    const [shift, scale] = facts.kinds[which].scale;
    if (which !== "softmax") return facts.emotions.map((e, n) => (rawOf(i, e) - shift[n]) / (scale[n] ?? NaN));
    const scores = facts.emotions.map((e, n) => rawOf(i, e) - facts.neutral[n]);
    const most = Math.max(...scores);
    const sum = scores.reduce((total, score) => total + Math.exp(score - most), 0);
    return scores.map((score) => Math.exp(score - most) / sum);
  }

  // Places of the emotions of a ranking, strongest first; of equal values the first in the guide's order.
  function ranking(own) {
    const places = [...own.keys()].filter((n) => facts.emotions[n].ranked && !Number.isNaN(own[n]));
    return places.sort((a, b) => own[b] - own[a] || a - b);
  }

  function valueText(value, which) {
    if (which === "softmax") return `${(100 * value).toFixed(value >= 0.0995 || value === 0 ? 0 : 1)}%`;
    return minus((which !== "raw" && value >= 0 ? "+" : "") + value.toFixed(which === "z" ? 1 : 2));
  }

  function element(tag, look, ...children) {
    const made = document.createElement(tag);
    made.className = look;
    made.append(...children.filter((child) => child !== ""));
    return made;
  }

  function share(made, property, part) {
    made.style[property] = `${(100 * Math.min(Math.max(part, 0), 1)).toFixed(1)}%`;
    return made;
  }

  function image(format, data, key) {
    const made = element("img", "");
    made.src = `data:image/${format};base64,${data}`;
    made.alt = key;
    return made;
  }

  function bar(n, value, which, first) {
    const head = facts.emotions[n];
    const mark = head.mark ? element("span", `agree agree-${head.mark.word}`) : "";
    if (mark) mark.title = head.mark.text;
    const name = element("span", "", head.name, mark, first ? element("small", "", facts.groups[head.group]) : "");
    const track = element("div", "track", share(element("i", ""), "width", value / facts.kinds[which].full));
    return element("div", `bar c${head.group}`, name, element("span", "", valueText(value, which)), track);
  }

  function scale(i, head) {
    const value = rawOf(i, head);
    const place = (value - head.ends[0]) / (head.ends[1] - head.ends[0]);
    const spot = element("span", place >= 0 && place <= 1 ? "spot" : "spot beyond");
    const rule = element("div", "rule", head.middle ? element("span", "zero") : "", share(spot, "left", place));
    const text = minus((head.middle && value >= 0 ? "+" : "") + value.toFixed(2));
    const [low, high] = [element("span", "end", head.low), element("span", "end", head.high)];
    return element("li", "scale", element("span", "", head.name), low, rule, high, element("span", "", text));
  }

  function keyLine(key, face = "") {
    const short = key.length > 34 ? `${key.slice(0, 11)}…${key.slice(-22)}` : key;
    const line = element("p", "key", element("bdi", "", short), face === "" ? "" : ` face ${face}`);
    line.title = key;
    return line;
  }

  function card(i) {
    const row = rows[i];
    const body = element("div", "body", keyLine(row[KEY], row[BOX][0] ?? ""));
    const shot = element("div", "shot", row[PICTURE] ? image("webp", row[PICTURE], row[KEY]) : "");
    const made = element("li", `panel card${row[RAW] ? "" : " failed"}`, shot, body);
    if (!row[RAW]) {
      const tag = element("div", "", element("span", "tag", row[STATUS].replaceAll("_", " ")));
      body.append(tag, element("p", "reason", row[REASON] || "No reason was given."));
      return made;
    }
    for (const which of Object.keys(facts.kinds)) {
      const own = values(i, which);
      const bars = ranking(own).slice(0, facts.top).map((n, place) => bar(n, own[n], which, place === 0));
      body.append(element("div", `view v-${which}`, ...bars));
    }
    if (facts.extras.length) {
      body.append(element("div", "scales", element("ul", "", ...facts.extras.map((head) => scale(i, head)))));
    }
    if (row[REASON]) body.append(element("p", "remark", row[REASON]));
    return made;
  }

  function photo(first) {
    if (photos.has(first)) return photos.get(first);
    const frame = element("div", "frame", image("webp", rows[first][PHOTO], picture(first)));
    let faces = 0;
    for (let i = first; starts[i] === first; i++, faces++) {
      const [number, ...sides] = rows[i][BOX];
      const box = element("span", "face", element("b", "", String(number)));
      ["left", "top", "width", "height"].forEach((side, n) => (box.style[side] = `${(100 * sides[n]).toFixed(1)}%`));
      frame.append(box);
    }
    const said = element("p", "", `${faces} ${faces === 1 ? "face" : "faces"} in this picture: the cards that follow.`);
    return element("li", "panel card photo", frame, element("div", "body", keyLine(picture(first)), said));
  }

  // The rows to show, in their order, and how many of them have no value to be sorted by.
  function found(head, which) {
    const wanted = state.name.toLowerCase();
    const most = { strongest: 1, among: facts.top }[state.show];
    const n = facts.emotions.indexOf(head);
    const own = new Float64Array(rows.length);
    let places = [...rows.keys()].filter((i) => rows[i][KEY].toLowerCase().includes(wanted));
    if (state.show === "failed") return places.filter((i) => !rows[i][RAW]);
    if (!head) return places;
    places = places.filter((i) => rows[i][RAW]);
    for (const i of places) own[i] = n < 0 ? rawOf(i, head) : values(i, which)[n];
    if (most && n >= 0) places = places.filter((i) => ranking(values(i, which)).slice(0, most).includes(n));
    if (state.order === "given") return places;
    const sign = state.order === "up" ? 1 : -1;
    return places.filter((i) => !Number.isNaN(own[i])).sort((a, b) => sign * (own[a] - own[b]) || a - b);
  }

  function draw() {
    const which = kind();
    const head = heads.get(state.emotion);
    const emotion = facts.emotions.includes(head);
    // The controls never say more than the list does.
    if (!head) state.order = "given";
    if (!emotion && state.show !== "failed") state.show = "all";
    for (const name of ["emotion", "order", "show", "name"]) byId(name).value = state[name];
    const places = found(head, which);
    const pages = Math.max(1, Math.ceil(places.length / facts.page));
    state.page = Math.min(Math.max(0, Math.trunc(Number(state.page)) || 0), pages - 1);
    const from = state.page * facts.page;
    const shown = places.slice(from, from + facts.page);
    const items = [];
    let before = -1;
    for (const i of shown) {
      if (!head && starts[i] >= 0 && starts[i] !== before) items.push(photo(starts[i]));
      before = starts[i];
      const item = cards[i] ?? card(i);
      item.querySelector(".picked")?.remove();
      const n = facts.emotions.indexOf(head);
      if (n >= 0 && rows[i][RAW]) {
        const picked = bar(n, values(i, which)[n], which, false);
        picked.classList.add("picked");
        item.querySelector(".key").after(picked);
      }
      items.push(item);
    }
    list.replaceChildren(...items);
    const count = (number) => number.toLocaleString("en");
    const all = places.length === rows.length ? "" : ` (${count(rows.length)} in all)`;
    byId("said").textContent = places.length
      ? `${count(from + 1)} to ${count(from + shown.length)} of ${count(places.length)}${all}`
      : `None of ${count(rows.length)}`;
    byId("back").disabled = state.page === 0;
    byId("next").disabled = state.page >= pages - 1;
    byId("order").disabled = !head;
    for (const option of byId("show").options) option.disabled = option.dataset.emotion === "" && !emotion;
    // So that a reload, or whoever gets the link, sees the same. In a frame the address is not ours.
    if (window === window.top) {
      const kept = Object.entries({ ...state, kind: which }).filter(([, value]) => value);
      history.replaceState(null, "", `#${new URLSearchParams(kept)}`);
    }
  }

  function turn(by) {
    state.page += by;
    draw();
    byId("tools").scrollIntoView();
  }

  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    const options = [...(byId(name)?.options ?? [])].map((option) => option.value);
    if (name in state && (!options.length || options.includes(value))) state[name] = value;
    if (name === "kind" && value in facts.kinds) byId(`v-${value}`).checked = true;
  }
  for (const name of ["emotion", "order", "show", "name"]) {
    const field = byId(name);
    field.addEventListener("input", () => {
      if (name === "emotion" && !state.emotion) state.order = "down";
      state[name] = field.value;
      state.page = 0;
      draw();
    });
  }
  document.querySelectorAll(".pick").forEach((pick) => pick.addEventListener("change", draw));
  byId("back").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  byId("tools").hidden = byId("pages").hidden = false;
  draw();
})();
