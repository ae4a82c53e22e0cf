"""Chat templates of checkpoints: what they write, and what they must not do."""

import json
import sys
import time

import pytest

from tritstream.catalog import Model
from tritstream.errors import BadInput, MissingTool
from tritstream.image.pack import pack
from tritstream.model import chat_template
from tritstream.model.chat_template import ChatTemplate, read_template
from tritstream.model.checkpoint import Checkpoint
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import TOKENIZER_VOCAB, DummyCheckpoint, byte_tokenizer

CHATML = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n'"
          " + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
LLAMA = """{%- if messages[0]['role'] == 'system' -%}
    {%- set system = messages[0]['content'] -%}
    {%- set rest = messages[1:] -%}
{%- else -%}
    {%- set system = false -%}
    {%- set rest = messages -%}
{%- endif -%}
{{- bos_token -}}
{%- for message in rest -%}
    {%- if (message.role == 'user') != (loop.index0 % 2 == 0) -%}
        {{- raise_exception('Roles must alternate user/assistant') -}}
    {%- endif -%}
    {%- if message.role == 'user' -%}
        {%- set first = system + '\n' if loop.first and system else '' -%}
        {{- '[INST] ' + first + message.content | trim + ' [/INST]' -}}
    {%- else -%}
        {%- generation -%}{{- ' ' + message.content | trim + eos_token -}}{%- endgeneration -%}
    {%- endif -%}
{%- endfor -%}"""
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def template():
    made = []

    def of(text, **tokens):
        table = {"template": text, "bos_token": "<s>", "eos_token": "</s>", **tokens}
        made.append(ChatTemplate(table, "the model"))
        return made[-1]

    yield of
    for each in made:
        each.close()


def test_what_templates_write(template):
    chatml, llama = template(CHATML), template(LLAMA)
    assert chatml.first(HELLO) == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    system = [{"role": "system", "content": "Be brief."}, *HELLO]
    assert llama.first(system) == "<s>[INST] Be brief.\nHello [/INST]"
    # What comes behind an answer is the same text that the whole conversation has there.
    for each in (chatml, llama):
        answer = [*HELLO, {"role": "assistant", "content": "Hi!"}, *HELLO]
        assert each.first(HELLO) + (" " if each is llama else "") + "Hi!" + each.more(HELLO) == (
            each.first(answer))


@pytest.mark.parametrize("text, said", [
    ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "for more"),
    ("{% for i in range(99999) %}{{ 'a' * 1000 }}{% endfor %}", "more than 8,388,608 letters"),
    ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
    ("{{ 'a' * 2000000000 }}", "MemoryError"),
    ("{% set n = namespace(a='a') %}{% for i in range(60) %}{% set n.a = n.a ~ n.a %}{% endfor %}",
     "MemoryError"),
    ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
    ("{{ messages.append(1) }}", "unsafe|safely callable"), ("{% if %}", "Expected an expression"),
    ("{{ messages[0].content.nothing.at_all }}", "no attribute"), ("{{ 1 // 0 }}", "zero"),
    ("{{ raise_exception('No such role.') }}", "No such role."), ("{% include 'x' %}", "no loader"),
])
def test_templates_that_nobody_should_write(template, text, said):
    """Each is a sentence within seconds; the process is there for the next one."""
    began = time.monotonic()
    made = template(text)
    for _ in range(2 if "99999" not in text else 1):
        with pytest.raises(BadInput, match=f"^The chat template of the model .*{said}"):
            made.first(HELLO)
    assert time.monotonic() - began < 30


def test_a_process_that_is_stuck_or_dies_is_started_again(template, monkeypatch):
    """What no timer ends inside the process is ended from outside."""
    monkeypatch.setattr(chat_template, "RENDER_SECONDS", 0.5)
    stuck = template("{% set n = messages[0].content | length + 4 %}"
                     "{% if n < 9 %}{{ 9 ** (9 ** n) }}{% endif %}fine")
    stuck.first(HELLO)
    with pytest.raises(BadInput, match="come to no end"):
        stuck.first([{"role": "user", "content": "four"}])
    assert stuck.first(HELLO) == "fine"
    process, _ = stuck._worker
    process.kill()
    process.wait()
    assert stuck.first(HELLO) == "fine"


def test_an_answer_that_is_not_shown(template):
    with pytest.raises(BadInput, match="does not show an answer as it is"):
        template("{{ messages | length }}").more(HELLO)


def test_without_jinja(template, tmp_path, monkeypatch):
    (tmp_path / "jinja2.py").write_text("raise ImportError('no jinja2 here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MissingTool, match=r"no jinja2 here.*tritstream\[chat\]"):
        template(CHATML).first(HELLO)


CONFIG = ModelConfig(hidden=16, intermediate=16, layers=1, vocab=TOKENIZER_VOCAB, bos=0, eos=1)


@pytest.fixture
def checkpoint(tmp_path):
    directory = tmp_path / "checkpoint"
    DummyCheckpoint(CONFIG, 1).save(directory)
    byte_tokenizer().save(str(directory / "tokenizer.json"))
    return directory


def settings(directory, **table):
    (directory / "tokenizer_config.json").write_text(json.dumps(table))


def test_a_template_travels_in_the_image(checkpoint, tmp_path):
    plain = pack(Checkpoint.open(checkpoint), tmp_path / "plain.trit")
    assert "chat" not in plain.meta and Model("m", plain.path).chat_template is None
    settings(checkpoint, chat_template=CHATML, bos_token="<s>", eos_token={"content": "</s>"})
    image = pack(Checkpoint.open(checkpoint), tmp_path / "chat.trit")
    expected = {"template": CHATML, "bos_token": "<s>", "eos_token": "</s>"}
    assert image.meta["chat"] == expected == read_template(checkpoint)
    assert image.digest != plain.digest
    for path in (image.path, checkpoint):
        template = Model("m", path).chat_template
        assert template.first(HELLO).endswith("assistant\n")
        template.close()


def test_where_a_template_is_from(checkpoint):
    settings(checkpoint, chat_template=[{"name": "tool_use", "template": "T"},
                                        {"name": "default", "template": "D"}])
    assert read_template(checkpoint)["template"] == "D"
    (checkpoint / "chat_template.jinja").write_text("\ufeffJ")
    assert read_template(checkpoint) == {"template": "J", "bos_token": "", "eos_token": ""}


@pytest.mark.parametrize("table, said", [
    ({"chat_template": 5}, "chat_template that is no text"),
    ({"chat_template": "a" * 300_000}, "more than the 262,144 bytes"),
])
def test_templates_that_are_none(checkpoint, table, said):
    settings(checkpoint, **table)
    with pytest.raises(BadInput, match=said):
        read_template(checkpoint)
    (checkpoint / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match="not UTF-8"):
        read_template(checkpoint)


def test_a_template_does_not_outlive_who_asked(template):
    made = template(CHATML)
    made.first(HELLO)
    process, _ = made._worker
    made.close()
    assert process.returncode is not None and sys.executable in process.args
