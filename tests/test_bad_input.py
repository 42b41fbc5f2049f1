"""What users and data sets get wrong, through the entry points of a run: each mistake is one line that names the flag,
the file or the row and says how to mend it; what is odd and legal works.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pepo_rlhf.config import Config, parse_arguments
from pepo_rlhf.data import Row, decode_image, load_rows
from pepo_rlhf.rewards import load_rewards

GOOD = {"images": ["a.png"], "problem": "<image>Find x.", "answer": "13"}
REQUIRED = ["--actor.model_name_or_path", "some/model", "--data.prompt_dataset", "some/dataset"]


class Case(NamedTuple):
    name: str
    make: Callable[[Path], Any]  # makes the thing in an empty folder, and returns what its entry point takes
    expected: str  # regular expression of the message


def png(width: int = 30, height: int = 20, mode: str = "RGB", **options) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, "PNG", **options)
    return file.getvalue()


def encode(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_of_size(width: int, height: int) -> bytes:
    """A few bytes that say they are an image of that size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


# --- rows: `make` returns the data set ---


def lines(*rows: dict | bytes, end: bytes = b"\n") -> Callable[[Path], Path]:
    """A JSONL file of the rows, each a record or a line as it is, beside the image a.png."""

    def make(folder: Path) -> Path:
        (folder / "a.png").write_bytes(png())
        encoded = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
        (folder / "rows.jsonl").write_bytes(b"".join(line + end for line in encoded))
        return folder / "rows.jsonl"

    return make


def changed(**change: Any) -> Callable[[Path], Path]:
    """The second row of two differs from a good one by `change`."""
    return lines(GOOD, GOOD | change)


def without(key: str) -> Callable[[Path], Path]:
    return lines(GOOD, {name: value for name, value in GOOD.items() if name != key})


def parquet(table: dict[str, list], keep: float = 1.0) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        pq.write_table(pa.table(table), folder / "rows.parquet")
        data = (folder / "rows.parquet").read_bytes()
        (folder / "rows.parquet").write_bytes(data[: int(keep * len(data))])
        return folder / "rows.parquet"

    return make


COLUMNS: dict[str, list] = {"problem": ["x"], "images": [[]], "answer": ["1"]}


def described(metadata: str, **change: list) -> Callable[[Path], Path]:
    """A parquet file with metadata of Hugging Face datasets."""

    def make(folder: Path) -> Path:
        table = pa.table(COLUMNS | change).replace_schema_metadata({"huggingface": metadata})
        pq.write_table(table, folder / "rows.parquet")
        return folder / "rows.parquet"

    return make


def classes(number: int) -> Callable[[Path], Path]:
    feature = {"_type": "ClassLabel", "names": ["cat", "dog"]}
    return described(json.dumps({"info": {"features": {"answer": feature}}}), answer=[number])


def two_columns(folder: Path) -> Path:
    table = pa.table([["x"], [[]], ["1"], ["2"]], names=["problem", "images", "answer", "answer"])
    pq.write_table(table, folder / "rows.parquet")
    return folder / "rows.parquet"


def unreadable(folder: Path) -> Path:
    """For root too: the first page of a process's memory is never mapped."""
    (folder / "rows.jsonl").symlink_to("/proc/self/mem")
    return folder / "rows.jsonl"


def holding(name: str, text: str | None) -> Callable[[Path], Path]:
    """A folder with a file of that name and text; with a folder of that name for None."""

    def make(folder: Path) -> Path:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).mkdir() if text is None else (folder / name).write_text(text)
        return folder

    return make


def make_folder(folder: Path) -> Path:
    (folder / "rows.jsonl").mkdir()
    return folder / "rows.jsonl"


def load(source: Path) -> list[Row]:
    return load_rows(str(source), max_images=Config().data.max_images_per_prompt).rows


ROW = r"rows\.jsonl:row 2: "
ROWS = [
    Case("no prompt", without("problem"), ROW + "the schema is unknown; looked for 'messages'.*rename them"),
    Case("no label", without("answer"), ROW + "the label is missing or empty; fill 'answer' or 'solution'"),
    Case("no image", without("images"), ROW + "no image is named; fill 'images' or 'image'"),
    Case("a prompt that is a number", changed(problem=7), ROW + "the schema is unknown; .* a text in 'problem'"),
    Case("a prompt that is a list", changed(problem=["x"]), ROW + "the schema is unknown"),
    Case("a label that is an object", changed(answer={"x": 1}), ROW + "the label must be a text or a number, not"),
    Case("a label that is two", changed(answer=["1", "2"]), ROW + "the label must be a text or a number, not"),
    Case("a label that is no number", lines(GOOD, b'{"images": ["a.png"], "problem": "x", "answer": 1e999}'),
         ROW + "the label inf is no number that a response could be; write the bare answer"),
    Case("an image that is a number", changed(images=[5]), ROW + "an image must be a path or bytes, not 5"),
    Case("an image that is a list", changed(images=[["a.png"]]), ROW + "an image must be a path or bytes"),
    Case("images in two columns", changed(image="b.png"),
         ROW + "both 'images' and 'image' name images; put all of them into one, in their order"),
    Case("an empty prompt", changed(problem=""), ROW + "the prompt is empty; write the problem's text"),
    Case("a prompt of an image alone", changed(problem="<image>\n\t"), ROW + "the prompt is empty"),
    Case("an empty label", changed(answer=" "), ROW + "the label is missing or empty"),
    Case("empty answer tags", changed(answer="<answer> </answer>"), ROW + "the label is missing or empty"),
    Case("a label that nobody sees", changed(answer="\u200b\ufeff"), ROW + "the label is missing or empty"),
    Case("a label of control characters", changed(answer="\a\x1b"), ROW + "the label is missing or empty"),
    Case("a prompt that nobody sees", changed(problem="<image>\u200b"), ROW + "the prompt is empty"),
    Case("a label that is true", changed(answer=True), ROW + "the label must be a text or a number, not True; write"),
    Case("an open answer tag", changed(answer="<answer>5"), ROW + "<answer> in the label has no </answer> of its own"),
    Case("two open answer tags", changed(answer="<answer>4<answer>5</answer>"), ROW + "<answer> in the label has no <"),
    Case("a million answer tags", changed(answer="<answer>" * 125_000), ROW + "<answer> in the label has no </answer>"),
    Case("prompts in two columns", changed(question="Find y."),
         ROW + "'problem' and 'question' hold a prompt each; keep one of them"),
    Case("messages and a problem", changed(messages=[{"role": "user", "content": "Find y."}]),
         ROW + "'messages' and 'problem' hold a prompt each"),
    Case("20000 columns", lines(GOOD, {f"column_{number}": 1 for number in range(20_000)}),
         ROW + r"the schema is unknown; .*'column_0', .*\[...\]; rename them"),
    Case("more placeholders than images", changed(problem="<image><image>x"), ROW + "2 <image> .* for 1 images; write"),
    Case("placeholders and no image", changed(images=[]), ROW + "1 <image> in the prompt for 0 images; write one"),
    Case("more images than allowed", changed(images=["a.png"] * 2), ROW + "2 images, .*max_images_per_prompt allows 1"),
    Case("two users", changed(problem=None, messages=[{"role": "user", "content": "x"}] * 2),
         ROW + "'messages' must be one user message"),
    Case("a null byte in the prompt", changed(problem="<image>\0x"), ROW + "a null byte in its text.*write it again"),
    Case("a null byte in the label", changed(answer="13\0"), ROW + "a null byte in its text"),
    Case("half of a surrogate pair", changed(problem="<image>\ud835"), ROW + "half of a surrogate pair in its text"),
    Case("trailing garbage", lines(GOOD, json.dumps(GOOD).encode() + b" x"), ROW + "not valid JSON .*one object"),
    Case("half a line", lines(GOOD, json.dumps(GOOD).encode()[:30]), ROW + "not valid JSON"),
    Case("two objects on a line", lines(GOOD, json.dumps(GOOD).encode() * 2), ROW + "not valid JSON"),
    Case("a list", lines(GOOD, b"[1]"), ROW + "not a JSON object; one object a line"),
    Case("a key twice", lines(GOOD, b'{"images": ["a.png"], "problem": "x", "answer": "1", "answer": "2"}'),
         ROW + "not valid JSON .two values for the key 'answer'; keep one"),
    Case("Latin-1", lines(GOOD, json.dumps(GOOD).encode().replace(b"Find", b"Fl\xe4che")), ROW + "not valid JSON"),
    Case("deep nesting", lines(GOOD, b"[" * 100_000), ROW + "not valid JSON"),
    Case("a number of 5000 digits", lines(GOOD, b'{"answer": ' + b"1" * 5000 + b"}"), ROW + "not valid JSON"),
    Case("an empty file", lines(), "rows.jsonl: no rows in it; name a source that has some"),
    Case("blank lines", lines(b"", b" "), "rows.jsonl: no rows in it"),
    Case("a folder in a file's place", make_folder, "rows.jsonl: no data of the split 'train'; looked for"),
    Case("no file", lambda folder: folder / "absent.jsonl", "absent.jsonl: no such file or folder"),
    Case("another kind of file", lambda folder: lines(GOOD)(folder).rename(folder / "rows.csv"),
         "rows.csv: not a data file; convert it to .jsonl or .json or .parquet"),
    Case("a name of 300 letters", lambda folder: folder / ("a" * 300), "no such file or folder"),
    Case("a file that cannot be read", unreadable, r"rows.jsonl: cannot be read .Input/output error.; mend its name"),
    Case("a null byte in the name", lambda folder: Path(f"{folder}/rows\0.jsonl"), "no such file or folder"),
    Case("parquet of other columns", parquet({"text": ["x"], "label": ["1"]}),
         r"rows.parquet:row 1: the schema is unknown; .*\['label', 'text'\]; rename them"),
    Case("parquet of other types", parquet({"problem": [1], "images": [[]], "answer": ["1"]}),
         r"rows.parquet:row 1: the schema is unknown"),
    Case("half a parquet file", parquet({"problem": ["x"], "images": [[]], "answer": ["1"]}, keep=0.5),
         "rows.parquet: not a readable parquet file .*write or download it again"),
    Case("a hidden class", classes(-1),
         r"rows.parquet:row 1: the column 'answer' holds -1, which is none of its 2 classes; .* labels are hidden"),
    Case("a class of no name", classes(99), "rows.parquet:row 1: the column 'answer' holds 99, which is none of its 2"),
    Case("metadata that are a list", described("[1]"), "rows.parquet: its metadata .* are damaged .*; write or downl"),
    Case("metadata of nothing", described('{"info": null}'), "rows.parquet: its metadata .* are damaged"),
    Case("metadata that are no JSON", described("{"), "rows.parquet: its metadata .* are damaged"),
    Case("two columns of a name", two_columns, "rows.parquet: two columns are called 'answer'; keep one of them"),
    Case("a date beyond Python's", parquet(COLUMNS | {"made": [pa.scalar(2**60, pa.timestamp("us"))]}),
         "rows.parquet:row 1: the column 'made' holds what cannot be read .*; mend it, or leave the column out"),
    Case("a duration beyond Python's", parquet(COLUMNS | {"took": [pa.scalar(2**62, pa.duration("s"))]}),
         "rows.parquet:row 1: the column 'took' holds what cannot be read"),
    Case("bytes that are no text", parquet(COLUMNS | {"note": pa.array([b"\xff"]).cast(pa.string(), safe=False)}),
         "rows.parquet:row 1: the column 'note' holds what cannot be read"),
    Case("a folder called train.jsonl", holding("train.jsonl", None),
         "train.jsonl: a data file has this name, and there is a folder or a broken link; rename that"),
    Case("a folder called data.json", holding("1/data.json", None), "1/data.json: not valid JSON .*Is a directory"),
    Case("a deeply nested data.json", holding("1/data.json", "[" * 100_000), "1/data.json: not valid JSON .*; unpack"),
    Case("a list of splits that holds numbers", holding("dataset_dict.json", "[1]"),
         "not a readable data set of save_to_disk .*; save it again"),
    Case("an empty parquet file", parquet({}, keep=0.0), "rows.parquet: not a readable parquet file"),
]  # fmt: skip


# --- images: `make` returns what the second row names as its image ---


def file(name: str, data: bytes) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        (folder / "data" / name).write_bytes(data)
        return name

    return make


def outside(named: Callable[[Path, Path], str]) -> Callable[[Path], str]:
    """A good image beside the data set's folder, called as `named` has it of that folder and the image."""

    def make(folder: Path) -> str:
        (folder / "private.png").write_bytes(png())
        return named(folder / "data", folder / "private.png")

    return make


def link(folder: Path, target: Path) -> str:
    (folder / "linked.png").symlink_to(target)
    return "linked.png"


def linked_folder(folder: Path, target: Path) -> str:
    (folder / "linked").symlink_to(target.parent)
    return "linked/private.png"


def directory(folder: Path) -> str:
    (folder / "data" / "images").mkdir()
    return "images"


def pipe(folder: Path) -> str:
    os.mkfifo(folder / "data" / "pipe.png")
    return "pipe.png"


def circle(folder: Path) -> str:
    (folder / "data" / "circle.png").symlink_to("circle.png")
    return "circle.png"


def load_image(make: Callable[[Path], Any], folder: Path) -> Row:
    (folder / "data").mkdir()
    image = make(folder)
    return load(lines(GOOD, GOOD | {"images": [image]})(folder / "data"))[1]


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="30" height="20"><rect width="9" height="9"/></svg>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 30 20\n%%EndComments\nshowpage\n"
MEND = ".*; mend the image or its path"
OUTSIDE = r".*private\.png\); if that is meant, set --data.image_root to a folder that holds both"
IMAGES = [
    Case("missing", lambda folder: "absent.png", ROW + "image file .*absent.png does not exist" + MEND),
    Case("a folder", directory, ROW + "image file .*images is a folder or a device, not a file" + MEND),
    Case("a named pipe", pipe, ROW + "image file .*pipe.png is a folder or a device, not a file"),
    Case("a link to itself", circle, ROW + "image file .*circle.png cannot be decoded: Too many levels of"),
    Case("of zero bytes", file("b.png", b""), ROW + "image file .*b.png is not an image that can be read" + MEND),
    Case("truncated", file("b.png", png()[:-30]), ROW + "image file .*b.png cannot be decoded: .*truncated" + MEND),
    Case("a truncated JPEG", file("b.jpg", encode(Image.effect_noise((90, 90), 50), "JPEG")[:-900]),
         ROW + "image file .*b.jpg cannot be decoded: .*truncated"),
    Case("a damaged header", file("b.png", png()[:20] + b"\xff" * 20), ROW + "image file .*b.png .*" + MEND),
    Case("a bomb of 20000 x 20000", file("b.png", png_of_size(20_000, 20_000)),
         ROW + "image file .*b.png is too large to be decoded .*400000000 pixels.*make it smaller"),
    Case("a line", file("b.png", png(1, 500)), ROW + "an image of 1 x 500 pixels is too narrow; its sides"),
    Case("SVG", file("b.svg", SVG), ROW + "image file .*b.svg is not an image that can be read, which are PNG, JPEG"),
    Case("SVG called PNG", file("b.png", SVG), ROW + "image file .*b.png is not an image that can be read"),
    Case("PostScript, which a program would draw", file("b.png", EPS), ROW + ".*b.png is not an image that can be"),
    Case("of 16 bits", file("b.png", png(mode="I;16")), ROW + ".*b.png has more than 8 bits a channel.*save it as 8"),
    Case("a text", file("b.png", b"not found"), ROW + "image file .*b.png is not an image that can be read"),
    Case("outside by ..", outside(lambda folder, image: "../private.png"), ROW + ".*lies outside " + OUTSIDE),
    Case("outside by an absolute path", outside(lambda folder, image: str(image)), ROW + ".*lies outside " + OUTSIDE),
    Case("outside by a link", outside(link), ROW + "image file .*linked.png lies outside " + OUTSIDE),
    Case("outside by a linked folder", outside(linked_folder), ROW + ".*linked/private.png lies outside " + OUTSIDE),
    Case("a device", lambda folder: "/dev/zero", ROW + "image file /dev/zero lies outside .*--data.image_root"),
    Case("a null byte in its path", lambda folder: "a\0.png", ROW + ".*null .*" + MEND),
    Case("half of a surrogate pair in its path", lambda folder: "\ud800.png", ROW + ".*surrogates not allowed" + MEND),
    Case("a path of 100000 letters", lambda folder: "a" * 100_000, ROW + ".*File name too long" + MEND),
    Case("a URL", lambda folder: "https://example.org/a.png", ROW + ".*a.png is not fetched; set --data.fetch_urls"),
    Case("a file URL", lambda folder: "file:///etc/hostname", ROW + "image file .* does not exist"),
    Case("a data URI of no base64", lambda folder: "data:image/svg+xml;utf8,<svg/>", ROW + ".*must be base64"),
    Case("a data URI of no image", lambda folder: "data:image/png;base64,AAAA", ROW + "image of 3 bytes is not an"),
    Case("base64 with other letters", lambda folder: {"bytes": "ä"}, ROW + "the bytes of an image .* must be base64"),
]  # fmt: skip


# --- settings: `make` returns flags, which come after those that are required ---


def flags(*words: str) -> Callable[[Path], list[str]]:
    return lambda folder: list(words)


def settings(text: str | bytes) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        (folder / "run.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return ["--config", str(folder / "run.yaml")]

    return make


NO_YAML = "--config: a configuration file "
SETTINGS = [
    Case("an unknown flag", flags("--pepo.alhpa", "1"), "--pepo.alhpa is not a setting; did you mean --pepo.alpha?"),
    Case("an unknown section", settings("pepoo: {alpha: 1}"), "--pepoo.alpha is not a setting; did you"),
    Case("an unknown key", settings("pepo: {alhpa: 1}"), "--pepo.alhpa is not a setting; did you mean --pepo.alpha?"),
    Case("a word for a number", flags("--pepo.alpha", "high"), "--pepo.settings.alpha must be a number, not 'high'"),
    Case("a fraction of a batch", flags("--train.batch_size", "6.5"), "--train.batch_size.*Expected a int"),
    Case("a list for a number", settings("pepo: {alpha: [1, 2]}"), "--pepo.settings.alpha must be a number, not"),
    Case("an unknown choice", flags("--pepo.method", "magic"), "--pepo.method 'magic' is unknown: choose one of"),
    Case("an unknown schedule", flags("--actor.lr_scheduler", "bogus"), "--actor.lr_scheduler.*one of 'cosine_with"),
    Case("a schedule that waits for a metric", flags("--actor.lr_scheduler", "reduce_lr_on_plateau"), "one of 'cosine"),
    Case("an unknown transport", flags("--vllm.sync_backend", "bogus"), "--vllm.sync_backend.*one of 'nccl', 'gloo'"),
    Case("an unknown type", flags("--ds.grad_accum_dtype", "bogus"), "--ds.grad_accum_dtype.*one of 'bf16', 'fp16'"),
    Case("an unknown stage", flags("--ds.zero_stage", "7"), "--ds.zero_stage must be from 0 to 3, not 7"),
    Case("a negative rank", flags("--ds.lora.rank", "-1"), "--ds.lora.rank must be at least 0, not -1"),
    Case("a seed that NumPy refuses", flags("--train.seed", str(2**32)), "--train.seed must be .* below 2\\*\\*31"),
    Case("no number as bonus", flags("--actor.entropy_coef", ".nan"), "--actor.entropy_coef is not a number: give one"),
    Case("no number as penalty", flags("--reward.overlong_penalty_factor", ".nan"), "penalty_factor is not a number"),
    Case("no number of gigabytes", flags("--ckpt.max_mem", ".nan"), "--ckpt.max_mem is not a number"),
    Case("a negative temperature", flags("--pepo.temperature", "-1"), "--pepo.settings.temperature must be greater"),
    Case("a negative seed", flags("--train.seed", "-1"), "--train.seed must be at least 0 and below"),
    Case("a decay above 1", flags("--actor.adam.betas", "0.9", "2"), "--actor.adam.betas must be at least 0 and"),
    Case("no room for a reward", flags("--reward.clip_range", "1", "-1"), "--reward.clip_range 1.0 -1.0 leaves no"),
    Case("no responses", flags("--rollout.n_samples_per_prompt", "0"), "--rollout.n_samples_per_prompt must be"),
    Case("not a number", flags("--actor.adam.lr", ".nan"), "--actor.adam.lr is not a number: give one"),
    Case("an infinite rate", flags("--actor.adam.lr", ".inf"), "--actor.adam.lr must be greater than 0, not inf"),
    Case("a number of 400 digits", flags("--pepo.alpha", "1" * 400), "--pepo.settings.alpha is too large a number"),
    Case("a seed of 400 digits", flags("--train.seed", "1" * 400), "--train.seed is too large a number: give a sm"),
    Case("limits the wrong way round", flags("--data.min_pixels", "9", "--data.max_pixels", "4"),
         "--data.min_pixels 9 is above --data.max_pixels 4: lower it"),
    Case("no room for a prompt", flags("--rollout.max_new_tokens", "2048"), "--rollout.max_new_tokens 2048 leaves no"),
    Case("a batch that does not divide", flags("--train.batch_size", "6"), "64 responses, .*--train.batch_size 6: ch"),
    Case("a group of one", flags("--rollout.n_samples_per_prompt", "1", "--train.batch_size", "8"),
         "compares the responses to a prompt: set --rollout.n_samples_per_prompt above 1"),
    Case("sleep without sharing", flags("--vllm.enable_sleep"), "--vllm.enable_sleep frees memory on shared GPUs only"),
    Case("averaged adapters", flags("--ds.lora.rank", "8", "--train.enable_ema"), "--train.enable_ema does not go"),
    Case("a run folder of no name", flags("--run.dir="), "--run.dir is empty: name a folder"),
    Case("a null byte in the run folder", flags("--run.dir", "a\0b"), r"--run.dir 'a.x00b' holds a null byte"),
    Case("no rewards", settings("reward: {functions: []}"), "--reward.functions is empty: name a built-in verifier"),
    Case("a weight of nothing", flags("--reward.weights", "{brevity: 1}"), "--reward.weights names 'brevity'"),
    Case("a list", settings("- pepo\n"), NO_YAML),
    Case("a word", settings("pepo"), NO_YAML),
    Case("nothing", settings(""), NO_YAML),
    Case("comments alone", settings("# pepo: {alpha: 1}\n"), NO_YAML),
    Case("a tab", settings("pepo:\n\talpha: 1\n"), NO_YAML + "is not valid YAML: .* line 2, column 1"),
    Case("an open bracket", settings("pepo: {alpha"), NO_YAML + "is not valid YAML"),
    Case("a Python object", settings("run: {dir: !!python/object/apply:os.getcwd []}"), NO_YAML + "is not valid YAML"),
    Case("a section twice", settings("pepo: {alpha: 0.1}\nrun: {dir: x}\npepo: {temperature: 2}\n"),
         NO_YAML + "is not valid YAML: run.yaml: line 3 has the key 'pepo' again; keep one"),
    Case("bytes", settings(b"\xff\xfe\x00pepo"), NO_YAML + "is not UTF-8 text"),
    Case("a section that is a number", settings("actor: 3\nrun: {dir: x}"), "section actor takes settings below it"),
    Case("a missing file", flags("--config", "absent.yaml"), "absent.yaml"),
    Case("a folder", lambda folder: ["--config", str(folder)], "--config: Path is not a file"),
    Case("a key for wandb", flags("--logger.wandb.key", "s3cret"), "--logger.wandb.key is not offered here: .*WANDB_"),
]  # fmt: skip


# --- rewards: `make` returns a name of --reward.functions ---


def reward_file(code: str, function: str) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        (folder / "mine.py").write_text(code)
        return f"{folder / 'mine.py'}:{function}"

    return make


REWARDS = [
    Case("unknown", lambda folder: "acuracy", "unknown reward 'acuracy'; choose from accuracy, .* or path/"),
    Case("no file", lambda folder: f"{folder}/absent.py:f", "there is no Python file .*absent.py; write path/to/"),
    Case("no Python", lambda folder: f"{folder}:f", "there is no Python file"),
    Case("no such function", reward_file("def g(r, l): return 1", "f"), "mine.py has no function 'f'; define f"),
    Case("no function", reward_file("f = 3", "f"), "mine.py has something that is not a function called 'f'"),
]  # fmt: skip

ENTRIES: dict[str, tuple[Callable[[Callable, Path], Any], list[Case]]] = {
    "rows": (lambda make, folder: load(make(folder)), ROWS),
    "image": (load_image, IMAGES),
    "settings": (lambda make, folder: parse_arguments([*REQUIRED, *make(folder)]), SETTINGS),
    "reward": (lambda make, folder: load_rewards([make(folder)]), REWARDS),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("enter", "case"),
    [
        pytest.param(enter, case, id=f"{entry}: {case.name}")
        for entry, (enter, cases) in ENTRIES.items()
        for case in cases
    ],
)
def test_bad_input_is_one_line_that_says_how_to_mend_it(
    enter: Callable, case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((ValueError, SystemExit)) as caught:
        enter(case.make, tmp_path)
    message = capsys.readouterr().err if isinstance(caught.value, SystemExit) else str(caught.value)
    assert re.search(case.expected, message)
    assert message.strip().count("\n") == 0
    assert len(message) < 1200
    assert "s3cret" not in message


# --- models: `make` damages the folder of a good one ---


def remove(*patterns: str) -> Callable[[Path], None]:
    return lambda folder: [file.unlink() for pattern in patterns for file in folder.glob(pattern)] and None


def template(text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / "chat_template.jinja").write_text(text)


def rewritten(name: str, **change: Any) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | change))


def pickle_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def halve(name: str) -> Callable[[Path], Any]:
    return lambda folder: os.truncate(folder / name, (folder / name).stat().st_size // 2)


INDEX = json.dumps({"weight_map": {"lm_head.weight": "model-00002.safetensors"}})
TEXT_ONLY = {"model_type": "qwen2", "vision_config": None}
NO_PLACE = "its chat template has no place for an image; copy chat_template.jinja"
MODELS = [
    Case("no configuration", remove("config.json"), "the folder has no config.json; name the folder that"),
    Case("half a configuration", lambda folder: (folder / "config.json").write_text("{"), "config.json"),
    Case("an unknown type", rewritten("config.json", model_type="own_model"), "own_model"),
    Case("no vision part", rewritten("config.json", **TEXT_ONLY), "'qwen2' has no vision part; name a vision-language"),
    Case("no weights", remove("*.safetensors"), r"the folder has no weights \(\*.safetensors\); copy them there"),
    Case("pickled weights", pickle_weights, r"in pickles \(pytorch_model.bin\), and only safetensors are loaded"),
    Case("half the weights", halve("model.safetensors"), "model.safetensors is missing or damaged .*; download"),
    Case("half a tokenizer", halve("tokenizer.json"), "its files do not load .*; download them again"),
    Case("a size that is a word", rewritten("config.json", text_config={"hidden_size": "big"}), "hidden_size"),
    Case("a shard that is missing", lambda folder: (folder / "model.safetensors.index.json").write_text(INDEX),
         "model-00002.safetensors is missing or damaged"),
    Case("no processor", remove("*processor*"), "has no processor_config.json; copy it from the original model"),
    Case("no tokenizer", remove("tokenizer*"), "the folder has no tokenizer .*tokenizer.json.; copy it from"),
    Case("half a tokenizer", remove("tokenizer.json"), "the folder has no tokenizer .*tokenizer.json.; copy it from"),
    Case("another's configuration", rewritten("config.json", image_token_id=3),
         "an image is token .* to its tokenizer and token 3 .* copy token"),
    Case("no template", remove("chat_template*"), "it has no chat template; copy chat_template.jinja"),
    Case("a template of texts", template("{% for m in messages %}{{ m.content }}{% endfor %}"), NO_PLACE),
    Case("a template that adds texts", template("{% for m in messages %}{{ m.role + m.content }}{% endfor %}"),
         "its chat template cannot render a message with an image"),
    Case("half a template", template("{% for m in messages %}"), "its chat template cannot render a message"),
]  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pepo_rlhf.toy.tiny_vlm import build_tiny_qwen2_5_vl

    return build_tiny_qwen2_5_vl(tmp_path_factory.mktemp("model") / "tiny")


@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.name)
def test_a_bad_model_is_one_line_that_says_how_to_mend_it(case: Case, model: Path, tmp_path: Path) -> None:
    from pepo_rlhf.checks.model_files import check_model

    folder = Path(shutil.copytree(model, tmp_path / "model"))
    check_model(str(folder))
    case.make(folder)
    with pytest.raises(ValueError, match=case.expected) as caught:
        check_model(str(folder))
    assert str(caught.value).startswith(f"--actor.model_name_or_path {folder}: ")
    assert "\n" not in str(caught.value)


# --- what is odd and legal ---

TEXTS = {
    "right to left": "أوجد x في المثلث",
    "combining marks": "Fla\u0308che x\u0302",
    "beyond the basic plane": "𝑥 + 🙂",
    "controls of direction": "\u202efind x\u202c",
    "no-break and zero-width spaces": "find\u00a0x\u200b",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_any_script_is_kept_as_it_is(tmp_path: Path, text: str) -> None:
    (row,) = load(lines(GOOD | {"problem": f"<image>{text}", "answer": text})(tmp_path))
    assert (row.prompt, row.label) == (f"<image>{text}", text)


def as_json(text: bytes) -> Callable[[Path], Path]:
    return lambda folder: lines(text)(folder).rename(folder / "rows.json")


ONE = json.dumps(GOOD).encode()
FILES = {
    "a byte order mark": lines(b"\xef\xbb\xbf" + ONE, ONE),
    "a byte order mark before an array": as_json(b"\xef\xbb\xbf[" + ONE + b"," + ONE + b"]"),
    "CRLF": lines(ONE, ONE, end=b"\r\n"),
    "no end of line at the end": lambda folder: lines(ONE + b"\n" + ONE, end=b"")(folder),
    "blank lines between": lines(ONE, b"", b"  ", ONE),
    "escapes and letters": lines(ONE, json.dumps(GOOD, ensure_ascii=False).encode()),
}


@pytest.mark.parametrize("make", FILES.values(), ids=FILES.keys())
def test_any_file_of_json_lines_is_read(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    assert [row.label for row in load(make(tmp_path))] == ["13", "13"]


RED, WHITE = (255, 0, 0), (255, 255, 255)


def image_of(mode: str, color: Any) -> Image.Image:
    return Image.new(mode, (30, 20), color)


def animation() -> bytes:
    frames = [image_of("RGB", RED), image_of("RGB", WHITE)]
    return encode(frames[0], "GIF", save_all=True, append_images=frames[1:])


def palette() -> Image.Image:
    return image_of("RGB", RED).convert("P", palette=Image.Palette.ADAPTIVE)


# What the file holds -> the colour that the model sees, within what JPEG loses.
PICTURES = {
    "CMYK": (file("b.jpg", encode(image_of("CMYK", (0, 255, 255, 0)), "JPEG")), RED),
    "an animation, its first frame": (file("b.gif", animation()), RED),
    "RGBA, opaque": (file("b.png", encode(image_of("RGBA", (255, 0, 0, 255)), "PNG")), RED),
    "RGBA, transparent": (file("b.png", encode(image_of("RGBA", (255, 0, 0, 0)), "PNG")), WHITE),
    "palette": (file("b.png", encode(palette(), "PNG")), RED),
    "black and white": (file("b.png", encode(image_of("1", 1), "PNG")), WHITE),
    "grey": (file("b.png", encode(image_of("L", 255), "PNG")), WHITE),
    "of one pixel": (file("b.png", encode(Image.new("RGB", (1, 1), RED), "PNG")), RED),
    "JPEG called PNG": (file("b.png", encode(image_of("RGB", RED), "JPEG")), RED),
    "without a suffix": (file("b", encode(image_of("RGB", RED), "WEBP", lossless=True)), RED),
    "of a name beyond ASCII": (file("ä 🙂.png", encode(image_of("RGB", RED), "PNG")), RED),
    "a data URI": (
        lambda folder: f"data:image/png;base64,{base64.b64encode(encode(image_of('RGB', RED), 'PNG')).decode()}",
        RED,
    ),
    "an absolute path within": (
        lambda folder: f"{folder}/data/{file('b.png', encode(image_of('RGB', RED), 'PNG'))(folder)}",
        RED,
    ),
}


@pytest.mark.parametrize(("make", "color"), PICTURES.values(), ids=PICTURES.keys())
def test_any_picture_becomes_the_rgb_that_one_sees(
    tmp_path: Path, make: Callable[[Path], Any], color: tuple[int, int, int]
) -> None:
    (image,) = load_image(make, tmp_path).images
    decoded = decode_image(image)
    assert decoded.mode == "RGB"
    assert decoded.getpixel((0, 0)) == pytest.approx(color, abs=3)


def test_images_beside_the_data_set_are_read_where_the_root_allows_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "private.png").write_bytes(png())
    source = lines(GOOD | {"images": ["../private.png"]})(tmp_path / "data")
    assert len(load_rows(str(source), image_root=str(tmp_path)).rows) == 1


# --- verifiers: every response has a score ---

MILLION = 10**6
RESPONSES = {
    "nothing": ("", 0.0, 0.0),
    # Pad tokens are special: decoding leaves them out, so that nothing is left; or, kept, they are a text like any.
    "pad tokens": ("<|endoftext|>" * 48, 0.0, 0.0),
    "a null byte": ("<think>\0</think><answer>13\0</answer>", 1.0, 0.0),
    "half of a surrogate pair": ("<think>\ud835</think><answer>13</answer>", 1.0, 1.0),
    "full-width digits": ("<think></think><answer>１３</answer>", 1.0, 1.0),
    "a million letters of thought": (f"<think>{'x' * MILLION}</think><answer>13</answer>", 1.0, 1.0),
    "a million digits": (f"<think></think><answer>{'1' * MILLION}</answer>", 1.0, 0.0),
    "a million tags": ("<answer>" * (MILLION // 8), 0.0, 0.0),
    "a million brackets": (f"<think></think><answer>{'(' * MILLION}</answer>", 1.0, 0.0),
    "a million marks": (f"<think></think><answer>a{'̧́' * (MILLION // 2)}</answer>", 1.0, 0.0),
    "a million spaces": (f"<think></think><answer>{' ' * MILLION}13</answer>", 1.0, 1.0),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("response", "form", "accuracy"), RESPONSES.values(), ids=RESPONSES.keys())
def test_any_response_has_a_score(response: str, form: float, accuracy: float) -> None:
    assert load_rewards(["format", "accuracy"])(response, "13") == {"format": form, "accuracy": accuracy}
