# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 08 · What is in these pictures?
#
# **Question.** What in these pictures is not steel, and how sure must the model be to say so? Drop some pictures, say in
# words what to look for, move the threshold, take the results along. Your files are only read, and they stay on this
# machine.

# %% tags=["parameters"]
profile = "smoke"
results_dir = "../results/smoke"
data_dir = "../data/scrapsim"

# %%
# The page of `make app`. Voilà shows what the cells show and hides the cells; each tab has a kernel of its own.
import asyncio
import html
import io
import os
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import anywidget
import ipywidgets as W
import traitlets
from PIL import Image

from scrapseg.app.outputs import Writer, tinted
from scrapseg.data.base import shrunk
from scrapseg.data.classes import classes_from
from scrapseg.data.errors import DataError
from scrapseg.data.layouts import IMAGE_ENDINGS
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.models.segmenter import SegmenterError, load, starting_model

# %%
SHOWN = 1024  # pictures are shown, and their scores kept, with at most this many pixels a side
MOST = 200  # pictures at a time; for more there is `make apply`

copies = TemporaryDirectory(prefix="scrapseg-")  # of what was dropped
paths = {}  # of the pictures, by their names
predictions = {}  # of the pictures at the size that is shown, by their names
parts = {}  # of files on their way here

# %%
# Files come in parts, because a message of the browser's has a largest size.
RECEIVE = """
function render({ model, el }) {
  el.innerHTML = `<div class="drop">Drop pictures here, or choose<br>
    <label>pictures<input type="file" multiple></label> &nbsp;or&nbsp;
    <label>a folder<input type="file" webkitdirectory></label></div>`;
  const size = 4e6, known = f => model.get("endings").some(e => f.name.toLowerCase().endsWith(e));
  async function send(files) {
    model.send({ left_out: files.filter(f => !known(f)).map(f => f.name) });
    for (const file of files.filter(known)) {
      const key = `${Math.random()}`;
      for (let at = 0; at === 0 || at < file.size; at += size) {
        const part = await file.slice(at, at + size).arrayBuffer();
        model.send({ key, name: file.name, last: at + size >= file.size }, undefined, [part]);
      }
    }
  }
  for (const input of el.querySelectorAll("input"))
    input.onchange = () => { send([...input.files]); input.value = ""; };
  const drop = el.querySelector(".drop");
  drop.ondragover = event => event.preventDefault();
  drop.ondrop = event => { event.preventDefault(); send([...event.dataTransfer.files]); };
"""

# %%
SEND = """
  model.on("msg:custom", (message, [content]) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type: "application/zip" }));
    link.download = message.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  });
}
export default { render };
"""
STYLE = """
.drop { border: 2px dashed #999; border-radius: 6px; padding: 14px 8px; text-align: center; line-height: 2.2; }
.drop label { border: 1px solid #888; border-radius: 4px; padding: 3px 10px; background: #eee; cursor: pointer; }
.drop label:focus-within { outline: 2px solid #0072b2; }
.drop input { position: absolute; width: 1px; opacity: 0; }
.objects td { padding: 1px 14px 1px 0; }
.widget-html > .widget-html-content.widget-html-content { line-height: 1.4; }
"""


# %%
class Files(anywidget.AnyWidget):
    """Files from the browser, and to it."""

    _esm = RECEIVE + SEND
    _css = STYLE
    endings = traitlets.List(sorted(IMAGE_ENDINGS)).tag(sync=True)


wide = {"width": "auto"}
files = Files()
choice = W.Select(rows=6, layout=wide)
words = W.Textarea(rows=10, layout=wide)
use = W.Button(description="Look for these", layout=wide)
level = W.FloatSlider(min=0.01, max=0.99, step=0.01, readout_format=".2f", layout=wide)
take = W.Button(description="Download the results", button_style="primary", layout=wide)
close = W.Button(description="Close these pictures", layout=wide)
status, messages, table = W.HTML(), W.HTML(), W.HTML()
fit = {"width": "100%", "height": "68vh", "object_fit": "contain", "object_position": "left top"}
picture = W.Image(format="jpeg", layout=fit)

# %%
told = []  # the newest first


def say(line):
    """Tell the person a line, which may hold any name of a file."""
    told.insert(0, html.escape(" ".join(str(line).replace(f"{copies.name}/", "").split())))
    del told[5:]
    messages.value = "".join(f'<p style="color:#a00;line-height:1.3">{line}</p>' for line in told)


async def guarded(work):
    """What nobody foresaw is told as well."""
    try:
        await work
    except Exception as error:
        say(error if isinstance(error, DataError) else f"{type(error).__name__}: {error}")


# %%
def show(*_):
    """The chosen picture at the threshold as it stands; the network does not run."""
    if choice.value not in predictions:
        return
    at = replace(model, threshold=level.value)
    p = at.thresholded(predictions[choice.value])
    jpeg = io.BytesIO()
    Image.fromarray(tinted(p, at.classes, SHOWN)).save(jpeg, format="jpeg", quality=88)
    picture.value = jpeg.getvalue()
    count = f"{len(p.objects)} object{'' if len(p.objects) == 1 else 's'}"
    rows = "".join(row(o, at.classes[o.index].colour, p.label.size) for o in p.objects[:12])
    more = f"and {len(p.objects) - 12} smaller ones" if len(p.objects) > 12 else ""
    head = f"<b>{count}</b> in {html.escape(choice.value)}"
    table.value = f'{head}<table class="objects">{rows}</table>{more}'


def row(o, colour, pixels):
    """An object's line of the table."""
    swatch = f'<span style="background:rgb{colour};padding:0 8px;border:1px solid #555"></span>'
    cells = (swatch, html.escape(o.name), f"{100 * o.area / pixels:.2f} %", f"score {o.score:.2f}")
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


# %%
def small(p):
    """What another threshold needs of a prediction, at the size that is shown."""
    maps = {name: shrunk(getattr(p, name), SHOWN) for name in ("image", "score", "impurity")}
    return replace(p, **maps, label=None, instances=None, objects=[])


def relist():
    """The names to choose from; the choice stays."""
    scores = {n: f" · score {p.image_score:.2f}" for n, p in predictions.items()}
    before = choice.value if choice.value in paths else next(iter(paths), None)
    choice.options = [(n + scores.get(n, " · waits"), n) for n in paths]
    choice.value = before


def progress(verb, done, total, began):
    """How far the work is, in words."""
    seconds = (time.monotonic() - began) / max(done, 1) * (total - done)
    status.value = f"{verb} {done} of {total}" + (f", about {seconds:.0f} s left" if done else "")


# %%
async def predict_waiting():
    """Predict picture by picture; between two of them the page answers."""
    began, done = time.monotonic(), 0
    while waiting := [name for name in paths if name not in predictions]:
        name, by = waiting[0], model
        progress("predicted", done, done + len(waiting), began)
        await asyncio.sleep(0.02)
        try:
            prediction = small(by.predict(paths[name]))
            if by is model:  # the words may have changed meanwhile
                predictions[name], done = prediction, done + 1
        except DataError as error:
            say(error)
            del paths[name]
        relist()
        if name == choice.value:
            show()
    status.value, take.disabled = "", not paths


# %%
worker = None


def begin():
    """Predict what waits, unless that goes on already."""
    global worker
    if worker is None or worker.done():
        worker = asyncio.ensure_future(guarded(predict_waiting()))


# %%
def receive(_, message, buffers):
    """Take what the browser sends; a file is opened with its last part."""
    if "left_out" in message:  # what a person chose at once begins so
        told.clear()
        messages.value = ""
    if names := message.get("left_out"):
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        kinds = ", ".join(e[1:] for e in files.endings)
        say(f"{shown}: left out, not of the kinds that are read ({kinds})")
    if buffers:
        parts.setdefault(message["key"], []).append(bytes(buffers[0]))
        if message["last"]:
            add(message["name"], b"".join(parts.pop(message["key"])))


# %%
def add(name, content):
    """Put a copy of a picture among the others, under a name that none of them has."""
    if len(paths) >= MOST:
        return say(f"{name}: left out, {MOST} pictures are open; for more: make apply DATA=folder")
    if example in paths:
        del paths[example], predictions[example]
    stem, ending = Path(name).stem, Path(name).suffix
    taken = {Path(n).stem for n in paths}
    free = next(
        s for k in range(len(taken) + 1) if (s := f"{stem}-{k + 1}" if k else stem) not in taken
    )
    paths[free + ending] = Path(copies.name) / (free + ending)
    paths[free + ending].write_bytes(content)
    relist()
    begin()


# %%
def close_all(_):
    """Forget the pictures."""
    for path in paths.values():
        if path.parent == Path(copies.name):
            path.unlink(missing_ok=True)
    paths.clear()
    predictions.clear()
    picture.value, table.value, take.disabled = b"", "", True
    relist()


# %%
def classes_of(text):
    """A class of each line, `name: words, words`, the normal one first."""
    pairs = [line.partition(":")[::2] for line in text.splitlines() if line.strip()]
    split = {n.strip(): [w.strip() for w in rest.split(",") if w.strip()] for n, rest in pairs}
    if len(split) < len(pairs):
        raise DataError("the words: two lines begin with the same name; join them")
    return classes_from(
        {n: {"words": rest} if rest else {} for n, rest in split.items()}, "the words"
    )


# %%
def reword(_=None):
    """The model that finds what the words say."""
    global model
    try:
        changed = start.with_classes(classes_of(words.value))
    except (DataError, SegmenterError) as error:
        return say(error)
    told.clear()
    messages.value = ""
    for c in changed.classes:
        if not any(word.isascii() for word in c.words):
            say(f"{c.name}: the model knows English words alone; add one, as in  {c.name}: rubber")
    predictions.clear()
    model, level.value = changed, changed.threshold
    relist()
    begin()


# %%
async def download():
    """Predict at full size, write as notebook 07 does, hand over as a zip."""
    at, began, chosen = replace(model, threshold=level.value), time.monotonic(), dict(paths)
    with TemporaryDirectory() as folder:
        writer = Writer(Path(folder), at.classes)
        for done, (name, path) in enumerate(chosen.items()):
            progress("written", done, len(chosen), began)
            await asyncio.sleep(0.02)
            writer.add(Path(name).stem, path, at.predict(path))
        writer.finish()
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
                archive.write(file, file.relative_to(folder))
    files.send({"name": "scrapseg-results.zip"}, [packed.getvalue()])


async def hand_over():
    """One download at a time."""
    take.disabled = True
    await guarded(download())
    take.disabled, status.value = False, ""


# %%
try:
    start = (
        load(os.environ["SCRAPSEG_MODEL"]) if os.environ.get("SCRAPSEG_MODEL") else starting_model()
    )
except SegmenterError as error:
    say(f"{error}; this is the model that comes along instead")
    start = starting_model()
model, level.value = start, start.threshold
words.value = "\n".join(f"{c.slug.replace('_', ' ')}: {', '.join(c.words)}" for c in start.classes)

test = ScrapSim(data_dir, "test", limit=1)
example = f"an example, {test.ids[0]}.jpg"
paths[example] = test.path(test.ids[0], "images")

files.on_msg(receive)
choice.observe(show, "value")
level.observe(show, "value")
use.on_click(reword)
close.on_click(close_all)
take.on_click(lambda _: asyncio.ensure_future(hand_over()))

# %%
hint = "A line for each class, <i>name: words, words</i>; what is normal comes first."
boxes = [files, messages, W.HTML("<b>Pictures</b>"), choice, close]
boxes += [W.HTML("<b>Threshold</b>: the lower, the more is found"), level, status, take]
boxes += [W.HTML(f"<b>Words</b><br>{hint}"), words, use]
side = W.VBox(boxes, layout={"width": "360px", "flex": "0 0 360px", "margin": "0 24px 0 0"})
main = W.VBox([picture, table], layout={"flex": "1 1 380px", "min_width": "300px"})
relist()
begin()
W.HBox([side, main], layout={"flex_flow": "row wrap", "align_items": "flex-start"})
