"""The gallery as one HTML file that works offline: drag to turn prediction and truth together."""

from __future__ import annotations

import base64
import html
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_trifocal.meshes import decimate
from trifocal import RESEARCH_USE_ONLY
from trifocal.files import atomic_file
from trifocal_app.gallery import PREDICTION, TRUTH
from trifocal_app.scene import SHELLS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trifocal_app.gallery import GalleryScene

SKULL_COLOUR, BOWL_COLOUR, CLOUD_COLOUR = (0.9, 0.9, 0.9, 0.3), (0.88, 0.2, 0.2, 1.0), (0.2, 0.45, 1.0)
MOST_TRIANGLES = 20_000  # of a surface: so few vertices that 16 bits count them


def write_page(path: Path, scenes: Sequence[GalleryScene], title: str) -> None:
    """Write the page, whole or not at all; it needs WebGL 2 and nothing from the network.

    Raises:
        OSError: If it cannot be written.
    """
    content = [_scene(scene) for scene in scenes]
    page = (
        PAGE.replace("__TITLE__", html.escape(title))
        .replace("__NOTICE__", html.escape(RESEARCH_USE_ONLY))
        .replace("__PREDICTION__", PREDICTION)
        .replace("__TRUTH__", TRUTH)
        .replace("__SCENES__", json.dumps(content).replace("</", "<\\/"))
    )
    with atomic_file(path) as part:
        part.write_text(page, encoding="utf-8")


def _scene(scene: GalleryScene) -> dict[str, Any]:
    """What the page needs of one sample: surfaces once, and which each side shows, opaque ones first."""
    clouds = [(*CLOUD_COLOUR, opacity) for _, opacity in SHELLS]
    bowl, skull = _mesh(scene.bowl, BOWL_COLOUR), _mesh(scene.skull, SKULL_COLOUR, rim=True)
    found, true = (
        [_mesh(mesh, colour) for mesh, colour in zip(shells, clouds, strict=True)]
        for shells in (scene.found, scene.true)
    )
    meshes = [bowl, *found, *true, skull]
    last, n = len(meshes) - 1, len(clouds)
    sides = [[0, *range(1, n + 1), last], [0, *range(n + 1, 2 * n + 1), last]]
    return {
        "title": scene.title,
        "sample": scene.sample,
        "meshes": meshes,
        "sides": [[i for i in side if meshes[i] is not None] for side in sides],
        "middle": scene.middle_mm.round(2).tolist(),
        "eye": scene.viewpoint.round(4).tolist(),
        "up": scene.up.round(4).tolist(),
    }


def _mesh(
    mesh: tuple[NDArray[np.floating], NDArray[np.integer]],
    colour: tuple[float, ...],
    *,
    rim: bool = False,
) -> dict[str, Any] | None:
    """Vertices as 16-bit fractions of their bounds, triangles as 16-bit indices; None without any."""
    if not len(mesh[1]):
        return None
    vertices, faces = decimate(*mesh, MOST_TRIANGLES)
    low = vertices.min(0)
    size = np.maximum(np.ptp(vertices, axis=0), 1e-3)
    packed = np.rint((vertices - low) / size * 65535).astype("<u2")
    return {
        "vertices": base64.b64encode(packed.tobytes()).decode(),
        "faces": base64.b64encode(np.ascontiguousarray(faces, "<u2").tobytes()).decode(),
        "low": low.astype(float).round(3).tolist(),
        "size": size.astype(float).round(3).tolist(),
        "colour": list(colour),
        "rim": rim,
    }


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>__TITLE__</title>
<style>
  body { margin: 0; padding: 1rem; background: #000; color: #ddd; font: 15px/1.4 system-ui, sans-serif }
  h1 { font-size: 1.1rem; font-weight: 600; margin: 0 0 .2rem }
  p { margin: 0 0 1rem; color: #999; font-size: .9rem }
  main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(36rem, 100%), 1fr)); gap: 1rem }
  figure { margin: 0; border: 1px solid #333; border-radius: 6px; overflow: hidden; position: relative }
  figcaption { padding: .4rem .7rem; background: #151515; display: flex; justify-content: space-between }
  figcaption small { color: #888 }
  canvas { display: block; width: 100%; aspect-ratio: 2; cursor: grab; touch-action: none }
  canvas:active { cursor: grabbing }
  span { position: absolute; bottom: .4rem; color: #bbb; font-size: .85rem; pointer-events: none }
  footer { color: #777; font-size: .8rem; margin-top: 1rem }
</style>
<h1>__TITLE__</h1>
<p>Drag to turn, scroll or pinch to come nearer, double-click to go back. Both sides turn together.
Skull grey, bowl red, cloud blue: 70, 50 and 25 % of each field's own peak beyond the near skull.</p>
<main></main>
<footer>__NOTICE__</footer>
<script>
"use strict";
const SCENES = __SCENES__;
const VERTEX = `#version 300 es
in vec3 position; in vec3 normal;
uniform mat4 camera; uniform vec3 low, size;
out vec3 at, toward;
void main() { at = low + position * size; toward = normal; gl_Position = camera * vec4(at, 1.0); }`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec3 at, toward; out vec4 seen;
uniform vec3 eye; uniform vec4 colour; uniform bool rim;
void main() {
  vec3 view = normalize(eye - at);
  float facing = abs(dot(normalize(toward), view));
  float alpha = rim ? colour.a * (0.12 + 0.88 * pow(1.0 - facing, 2.0)) : colour.a;
  seen = vec4(colour.rgb * (0.35 + 0.65 * facing) * alpha, alpha);
}`;

const sub = (a, b) => a.map((x, i) => x - b[i]);
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const unit = a => { const n = Math.hypot(...a) || 1; return a.map(x => x / n); };
function turned(v, axis, angle) {  // Rodrigues' rotation formula
  const c = Math.cos(angle), s = Math.sin(angle), w = cross(axis, v), d = dot(axis, v) * (1 - c);
  return v.map((x, i) => x * c + w[i] * s + axis[i] * d);
}
function lookAt(eye, middle, up, aspect) {
  const z = unit(sub(eye, middle)), x = unit(cross(up, z)), y = cross(z, x);
  const f = 1 / Math.tan(0.26), near = 10, far = 2000, a = (far + near) / (near - far);
  const rows = [x.map(c => c * f / aspect), y.map(c => c * f), z.map(c => c * a), z.map(c => -c)];
  const shift = [-dot(x, eye) * f / aspect, -dot(y, eye) * f,
                 -dot(z, eye) * a + 2 * far * near / (near - far), dot(z, eye)];
  const m = new Float32Array(16);
  rows.forEach((row, r) => { row.forEach((v, c) => { m[4 * c + r] = v; }); m[12 + r] = shift[r]; });
  return m;
}
function bytes(text) { return Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer; }
function normals(mesh, vertices, faces) {  // of each vertex, the mean over its triangles
  const p = i => [0, 1, 2].map(k => vertices[3 * i + k] / 65535 * mesh.size[k]);
  const out = new Float32Array(vertices.length);
  for (let t = 0; t < faces.length; t += 3) {
    const [a, b, c] = [faces[t], faces[t + 1], faces[t + 2]], o = p(a);
    const n = cross(sub(p(b), o), sub(p(c), o));
    for (const i of [a, b, c]) for (let k = 0; k < 3; k++) out[3 * i + k] += n[k];
  }
  return out;
}
function program(gl) {
  const made = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  return made;
}
function upload(gl, shader, mesh) {
  const vertices = new Uint16Array(bytes(mesh.vertices)), faces = new Uint16Array(bytes(mesh.faces));
  const array = gl.createVertexArray();
  gl.bindVertexArray(array);
  const put = (name, data, type, normalised) => {
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    const at = gl.getAttribLocation(shader, name);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, 3, type, normalised, 0, 0);
  };
  put("position", vertices, gl.UNSIGNED_SHORT, true);
  put("normal", normals(mesh, vertices, faces), gl.FLOAT, false);
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, faces, gl.STATIC_DRAW);
  return { array, count: faces.length, mesh };
}
function show(scene) {
  const figure = document.createElement("figure"), canvas = document.createElement("canvas");
  const caption = document.createElement("figcaption"), name = document.createElement("small");
  caption.textContent = scene.title;
  name.textContent = scene.sample;
  caption.append(name);
  figure.append(caption, canvas);
  for (const [text, left] of [["__PREDICTION__", "1%"], ["__TRUTH__", "51%"]]) {
    const label = document.createElement("span");
    label.textContent = text;
    label.style.left = left;
    figure.append(label);
  }
  document.querySelector("main").append(figure);
  const gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
  if (!gl) { caption.textContent = "this browser has no WebGL 2"; return; }
  const shader = program(gl), where = key => gl.getUniformLocation(shader, key);
  const ready = scene.meshes.map(mesh => mesh && upload(gl, shader, mesh));
  const sides = scene.sides.map(side => side.map(i => ready[i]));
  let eye, up, distance;
  const home = () => { eye = unit(scene.eye); up = scene.up; distance = 330; };
  home();
  function draw() {
    const scale = window.devicePixelRatio || 1;
    const width = canvas.clientWidth * scale, height = canvas.clientHeight * scale;
    if (canvas.width !== Math.round(width)) { canvas.width = width; canvas.height = height; }
    const half = Math.floor(canvas.width / 2);
    const from = scene.middle.map((m, i) => m + distance * eye[i]);
    gl.useProgram(shader);
    gl.disable(gl.SCISSOR_TEST);
    gl.clearColor(0, 0, 0, 1);
    gl.depthMask(true);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.BLEND);
    gl.enable(gl.SCISSOR_TEST);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.uniformMatrix4fv(where("camera"), false, lookAt(from, scene.middle, up, half / canvas.height));
    gl.uniform3fv(where("eye"), from);
    sides.forEach((meshes, side) => {
      gl.viewport(side * half, 0, half, canvas.height);
      gl.scissor(side * half, 0, half, canvas.height);
      for (const { array, count, mesh } of meshes) {
        gl.depthMask(mesh.colour[3] === 1);
        gl.uniform3fv(where("low"), mesh.low);
        gl.uniform3fv(where("size"), mesh.size);
        gl.uniform4fv(where("colour"), mesh.colour);
        gl.uniform1i(where("rim"), mesh.rim ? 1 : 0);
        gl.bindVertexArray(array);
        gl.drawElements(gl.TRIANGLES, count, gl.UNSIGNED_SHORT, 0);
      }
    });
  }
  const fingers = new Map();
  canvas.addEventListener("pointerdown", e => {
    fingers.set(e.pointerId, [e.clientX, e.clientY]);
    canvas.setPointerCapture(e.pointerId);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, e => fingers.delete(e.pointerId));
  }
  const spread = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]); };
  canvas.addEventListener("pointermove", e => {
    const before = fingers.get(e.pointerId);
    if (!before) return;
    const old = fingers.size === 2 ? spread() : 0;
    fingers.set(e.pointerId, [e.clientX, e.clientY]);
    if (fingers.size === 2) {
      distance = Math.min(900, Math.max(60, distance * old / Math.max(spread(), 1)));
    } else {
      const right = unit(cross(up, eye)), upward = cross(eye, right), turn = 0.008;
      const sideways = -(e.clientX - before[0]) * turn, over = -(e.clientY - before[1]) * turn;
      eye = unit(turned(turned(eye, upward, sideways), right, over));
      up = unit(turned(turned(upward, upward, sideways), right, over));
    }
    draw();
  });
  canvas.addEventListener("wheel", e => {
    e.preventDefault();
    distance = Math.min(900, Math.max(60, distance * Math.exp(e.deltaY * 0.001)));
    draw();
  }, { passive: false });
  canvas.addEventListener("dblclick", () => { home(); draw(); });
  new ResizeObserver(draw).observe(canvas);
}
SCENES.forEach(show);
</script>
</html>
"""
