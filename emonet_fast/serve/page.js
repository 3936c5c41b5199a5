"use strict";
// Sends the picture that was dropped, or the webcam's frames, to the server, and shows what comes back. The page's policy
// allows this script alone, by its hash, and forbids to make markup of text: every text here becomes a text node.
(() => {
  const byId = (id) => document.getElementById(id);
  const canvas = byId("picture");
  const lines = new Map([...document.querySelectorAll(".score")].map((line) => [line.dataset.slug, line]));
  let shown = null;
  let picked = 0;
  let camera = null;

  function say(text, bad = false) {
    byId("said").textContent = text;
    byId("said").className = bad ? "said bad" : "said soft";
  }

  // What a reader must know, such as that the weights are untrained.
  function note(notes) {
    byId("notes").textContent = notes.join("; ");
  }

  function valueText(value, kind) {
    if (kind === "softmax") return `${(100 * value).toFixed(value >= 0.0995 || value === 0 ? 0 : 1)}%`;
    return ((kind === "score" && value >= 0 ? "+" : "") + value.toFixed(2)).replace("-", "−");
  }

  function draw(image, rows) {
    canvas.width = image.width;
    canvas.height = image.height;
    canvas.style.aspectRatio = `${image.width} / ${image.height}`;
    const pen = canvas.getContext("2d");
    pen.drawImage(image, 0, 0);
    const wide = Math.max(2, image.width / 200);
    rows.forEach((row, i) => {
      if (!row.face) return;
      const { face_x: x, face_y: y, face_width: w, face_height: h } = row.face;
      for (const [style, width] of [["#000", 2 * wide], [i === picked ? "#ffd54d" : "#fff", wide]]) {
        pen.strokeStyle = style;
        pen.lineWidth = width;
        pen.strokeRect(x, y, w, h);
      }
    });
  }

  // What the picked row says; dashes where it has no scores.
  function show() {
    const { image, rows } = shown;
    picked = Math.min(picked, rows.length - 1);
    draw(image, rows);
    const row = rows[picked];
    const kind = ["softmax", "score", "raw"].find((one) => row && row[one]);
    const values = kind ? row[kind] : {};
    const numbers = [...lines.keys()].map((slug) => values[slug]).filter((value) => value !== undefined);
    const most = Math.max(...numbers);
    for (const [slug, line] of lines) {
      const value = values[slug];
      const known = value !== undefined && value !== null;
      line.children[1].firstElementChild.style.width = known ? `${100 * Math.max(0, value / Math.max(most, 1e-9))}%` : "0";
      line.children[2].textContent = known ? valueText(value, kind) : "–";
      line.classList.toggle("first", known && value === most);
    }
    byId("faces").replaceChildren(...(rows.length < 2 ? [] : rows.map((one, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = one.track ? `Track ${one.track}` : `Face ${i + 1}`;
      button.setAttribute("aria-pressed", String(i === picked));
      button.onclick = () => { picked = i; show(); };
      return button;
    })));
    const measure = { softmax: "softmax over the 40 emotions", score: "score, raw minus neutral mean", raw: "raw score" };
    if (!row) say("no row came", true);
    else if (row.status !== "ok") {
      const status = row.status.replaceAll("_", " ");
      say(row.reason.startsWith(status) ? row.reason : `${status}: ${row.reason}`, true);
    }
    else say(`${measure[kind]}; the longest bar is the strongest emotion${row.reason ? `. ${row.reason}` : ""}`);
  }

  async function score(file) {
    stop();
    say("scoring …");
    try {
      const headers = { "Content-Type": "application/octet-stream" };
      const answer = await fetch("v1/score", { method: "POST", body: file, headers });
      const content = await answer.json();
      if (!answer.ok) return say(content.error, true);
      note(content.notes);
      const image = await createImageBitmap(file).catch(() => Object.assign(document.createElement("canvas"), { width: 640, height: 480 }));
      [shown, picked] = [{ image, rows: content.rows }, 0];
      show();
    } catch (error) {
      say(`the server did not answer: ${error.message}`, true);
    }
  }

  function stop() {
    if (!camera) return;
    camera.stream.getTracks().forEach((track) => track.stop());
    camera.socket.close();
    camera = null;
    byId("webcam").textContent = "Open the webcam";
  }

  async function open() {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
    } catch (error) {
      return say(`the webcam cannot be opened: ${error.message}`, true);
    }
    const video = Object.assign(document.createElement("video"), { srcObject: stream, muted: true, playsInline: true });
    await video.play();
    const socket = new WebSocket(new URL("v1/stream", location.href.replace(/^http/, "ws")));
    socket.binaryType = "arraybuffer";
    camera = { stream, socket };
    byId("webcam").textContent = "Close the webcam";
    let image = null;
    const next = async () => {
      image = await createImageBitmap(video);
      const frame = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
      frame.getContext("2d").drawImage(image, 0, 0);
      const data = await new Promise((done) => frame.toBlob(done, "image/jpeg", 0.9));
      const head = new DataView(new ArrayBuffer(16));
      head.setFloat64(0, performance.now() / 1000, true);
      if (socket.readyState === WebSocket.OPEN) socket.send(new Blob([head, data]));
    };
    socket.onmessage = ({ data }) => {
      const answer = JSON.parse(data);
      if (answer.notes) note(answer.notes);
      if (answer.rows) {
        shown = { image, rows: answer.rows.length ? answer.rows : [answer] };
        show();
      }
      next();
    };
    socket.onclose = ({ reason }) => {
      if (camera && camera.socket === socket) { stop(); say(reason || "the stream has ended", true); }
    };
  }

  const drop = byId("drop");
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) score(event.dataTransfer.files[0]);
  });
  byId("choose").onclick = () => byId("file").click();
  byId("file").onchange = ({ target }) => { if (target.files.length) score(target.files[0]); };
  byId("webcam").onclick = () => (camera ? stop() : open());
})();
