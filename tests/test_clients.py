"""The server, by what people have: curl, LangChain, and `llm`; test_server.py has OpenAI's own."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import openai
import pytest
from langchain_openai import ChatOpenAI, OpenAI

import tritstream
from tritstream.catalog import Model

PROMPT = "It was a dark night, and"
WAIT = 60                   # seconds, far more than anything here takes
SAMPLING = {"temperature": 0.7, "seed": 3}


@pytest.fixture(scope="module")
def tiny(serving, tmp_path_factory):
    """A model that goes on with texts, served; its address."""
    with (tritstream.load("tiny") as model,
          serving(tmp_path_factory.mktemp("tiny"), model) as (port, _)):
        yield f"http://127.0.0.1:{port}/v1"


@pytest.fixture(scope="module")
def chatty(chat_image, serving, tmp_path_factory):
    """One that answers by a chat template; its address."""
    with (tritstream.load(Model("chatty", chat_image)) as model,
          serving(tmp_path_factory.mktemp("chatty"), model) as (port, _)):
        yield f"http://127.0.0.1:{port}/v1"
    model.source.chat_template.close()


@pytest.fixture(scope="module")
def expected():
    """What the text is without a server."""
    return alone(SAMPLING["seed"])


def alone(seed):
    with tritstream.load("tiny") as model:
        text = model.generate(PROMPT, 12, SAMPLING["temperature"], seed=seed)
        for _ in text:
            pass
        return text


# curl.

def curl(*arguments):
    program = shutil.which("curl")
    assert program, "The server is tested with curl, which is absent: apt install curl."
    done = subprocess.run([program, "--silent", "--no-buffer", *arguments], capture_output=True,
                          text=True, timeout=WAIT, check=True)
    return done.stdout


def test_curl(tiny, expected):
    body = json.dumps({"prompt": PROMPT, "max_tokens": 12, **SAMPLING})
    answer = json.loads(curl(f"{tiny}/completions", "-d", body))
    assert answer["choices"][0]["text"] == expected.text
    lines = curl(f"{tiny}/completions", "-H", "Content-Type: application/json", "-d",
                 body[:-1] + ', "stream": true}').splitlines()
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert data.pop() == "[DONE]"
    assert "".join(json.loads(line)["choices"][0]["text"] for line in data) == expected.text
    refused = curl(f"{tiny}/completions", "-d", "{", "-w", "\n%{http_code}")
    assert "no JSON" in json.loads(refused.splitlines()[0])["error"]["message"]
    assert refused.splitlines()[1] == "400"


# LangChain.

@pytest.fixture
def chain(tiny):
    return OpenAI(base_url=tiny, api_key="none", model="tiny", max_tokens=12, max_retries=0,
                  **SAMPLING)


def test_langchain(chain, expected):
    assert chain.invoke(PROMPT) == expected.text
    pieces = list(chain.stream(PROMPT))
    assert "".join(pieces) == expected.text and len(pieces) > 3
    stop = expected.text[8:11]
    assert chain.invoke(PROMPT, stop=[stop]) == expected.text[:expected.text.index(stop)]
    # Choices of one request have seeds that follow one another.
    assert chain.batch([PROMPT, PROMPT]) == [expected.text, alone(SAMPLING["seed"] + 1).text]


def test_langchain_log_probabilities_and_errors(chain):
    (generation,), = chain.generate([PROMPT], logprobs=2).generations
    assert len(generation.generation_info["logprobs"]["tokens"]) == 12
    with pytest.raises(openai.BadRequestError, match="top-p must be above 0"):
        chain.invoke(PROMPT, top_p=0)
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-4'"):
        chain.invoke(PROMPT, model="gpt-4")


def test_langchain_chats(chatty, tiny):
    options = {"api_key": "none", "max_retries": 0, **SAMPLING}
    chat = ChatOpenAI(base_url=chatty, model="chatty", max_tokens=8, logprobs=True,
                      top_logprobs=2, **options)
    messages = [("system", "Be short."), ("human", "Hello")]
    answer = chat.invoke(messages)
    assert len(answer.response_metadata["logprobs"]["content"]) == 8
    assert answer.usage_metadata["output_tokens"] == 8
    pieces = list(chat.stream(messages, stream_usage=True))
    assert "".join(piece.content for piece in pieces) == answer.content
    assert sum(piece.usage_metadata["output_tokens"] for piece in pieces
               if piece.usage_metadata) == 8
    with pytest.raises(openai.BadRequestError, match="no chat template"):
        ChatOpenAI(base_url=tiny, model="tiny", **options).invoke(messages)


# llm.

@pytest.fixture
def llm(tiny, chatty, tmp_path):
    """The program with two models of ours, as its users say it in their file."""
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps([
        {"model_id": "ours", "model_name": "tiny", "api_base": tiny, "completion": True},
        {"model_id": "ours-chat", "model_name": "chatty", "api_base": chatty}]))
    program = pathlib.Path(sys.executable).with_name("llm")

    def run(*arguments):
        return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=WAIT,
                              env=os.environ | {"LLM_USER_PATH": str(tmp_path)})

    return run


def test_llm(llm, expected):
    options = ("-o", "max_tokens", "12", "-o", "temperature", "0.7", "-o", "seed", "3")
    done = llm("-m", "ours", *options, "-o", "logprobs", "2", PROMPT)
    assert done.stdout.strip() == expected.text.strip(), done.stderr
    stop = expected.text[8:11]
    done = llm("-m", "ours", *options, "-o", "stop", stop, "--no-stream", PROMPT)
    assert done.stdout.strip() == expected.text[:expected.text.index(stop)].strip(), done.stderr
    refused = llm("-m", "ours", "-o", "max_tokens", "2000000", PROMPT)
    assert refused.returncode and "max_tokens cannot be used" in refused.stderr


def test_llm_chats(llm):
    done = llm("-m", "ours-chat", "-o", "max_tokens", "8", "-s", "Be short.", "Hello")
    assert done.returncode == 0 and done.stdout.strip()
    more = llm("--continue", "-o", "max_tokens", "8", "And then?")
    assert more.returncode == 0 and more.stdout.strip(), more.stderr
