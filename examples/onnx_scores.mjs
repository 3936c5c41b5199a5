// Scores of a picture by ONNX Runtime in Node.js, from a model of `emonet-fast export`.
//
// npm install onnxruntime-node
// node examples/onnx_scores.mjs emonet.onnx face.ppm labels.txt
//
// face.ppm is a binary PPM (P6) of the model's size, resized outside: by Pillow, Image.resize((384, 384), BILINEAR).
// labels.txt has a label a line: onnxruntime-node gives no metadata (docs/recipes.md tells how to write it).
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

// Packages of the working folder, as `npm install` puts them there.
const ort = createRequire(join(process.cwd(), "node_modules", "x"))("onnxruntime-node");
const [model, picture, names] = process.argv.slice(2);

function readPpm(path) {
  const bytes = readFileSync(path);
  const head = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(bytes.toString("latin1", 0, 64));
  if (head === null) throw new Error(`${path} is no binary PPM of 8 bits`);
  const [width, height] = [Number(head[1]), Number(head[2])];
  const rgb = new Uint8Array(bytes.subarray(head[0].length, head[0].length + width * height * 3));
  if (rgb.length !== width * height * 3) throw new Error(`${path} is cut short`);
  return new ort.Tensor("uint8", rgb, [1, height, width, 3]);
}

const session = await ort.InferenceSession.create(model);
const { scores } = await session.run({ pixels: readPpm(picture) }, ["scores"]);
const labels = readFileSync(names, "utf-8").trim().split("\n");
labels.forEach((label, i) => console.log(`${label}\t${scores.data[i].toFixed(6)}`));
