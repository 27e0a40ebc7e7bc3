"""The vision-language engine: loading and prompting, on a tiny randomly initialised model of SmolVLM's class."""

import json
import sys
import types

import numpy as np
import pytest
from omni_vision import images, vlm

from omni.errors import BadInput, ModelMissing


class Spoken:
    """A backend that says what it was shown."""

    def __init__(self, reply="A red square."):
        self.reply, self.calls = reply, []

    def generate(self, shown, question, max_tokens):
        self.calls.append(([one.shape for one in shown], question))
        return self.reply, 42

    def close(self):
        self.calls.append("closed")


def engine(backend, tmp_path):
    async def folder():
        return tmp_path

    return vlm.VlmVision(folder, lambda path: backend)


RED = images.encode(np.full((20, 30, 3), (255, 0, 0), np.uint8), "PNG")


async def test_answers_are_remembered_by_picture_and_question(tmp_path):
    backend = Spoken()
    one = engine(backend, tmp_path)
    answer = await one.answer([RED], "what is it?")
    again = await one.answer([RED], "what is it?")
    assert (answer.text, answer.tokens, answer.supported) == ("A red square.", 42, True)
    assert again.text == answer.text
    assert backend.calls == [([(20, 30, 3)], "what is it?")]
    assert answer.regions[0][1].box == (0, 0, 30, 20)
    assert (await one.look(RED)).description == "A red square."
    with pytest.raises(BadInput):
        await one.answer([], "what?")
    with pytest.raises(BadInput):
        await one.answer([b"%PDF-"], "what?")
    await one.close()
    await one.close()
    assert backend.calls.count("closed") == 1


async def test_what_the_model_cannot_see_is_not_supported(tmp_path):
    answer = await engine(Spoken("I can't see that in the image."), tmp_path).answer([RED], "who is it?")
    assert not answer.supported
    assert answer.regions == ()


def test_llama_is_given_pictures_and_a_key(tmp_path, monkeypatch):
    asked = []

    class Server:
        def __init__(self, params):
            self.params = params

        def handle_chat_completions(self, request):
            asked.append((self.params, json.loads(request)))
            return json.dumps({"choices": [{"message": {"content": " A cat. "}}], "usage": {"total_tokens": 77}})

    def params():
        part = lambda: types.SimpleNamespace()  # noqa: E731
        return types.SimpleNamespace(model=part(), mmproj=part(), cpuparams=part(), cpuparams_batch=part())

    monkeypatch.setitem(sys.modules, "xllamacpp", types.SimpleNamespace(CommonParams=params, Server=Server))
    with pytest.raises(ModelMissing, match="mmproj"):
        vlm.LlamaBackend(tmp_path)
    (tmp_path / "model.gguf").write_bytes(b"")
    (tmp_path / "mmproj-model.gguf").write_bytes(b"")
    backend = vlm.load(tmp_path)
    assert backend.generate([np.zeros((4, 4, 3), np.uint8)] * 2, "what is it?", 50) == ("A cat.", 77)
    given, request = asked[0]
    assert given.mmproj.path.endswith("mmproj-model.gguf")
    assert given.hostnames == ["127.0.0.1"]
    assert given.api_keys[0]
    content = request["messages"][1]["content"]
    assert [part["type"] for part in content] == ["image_url", "image_url", "text"]
    assert content[0]["image_url"]["url"].startswith("data:image/jpeg;base64,")


@pytest.mark.slow
def test_transformers_runs_a_tiny_model_of_the_same_class(tmp_path):
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("transformers", reason="transformers is not installed")
    tiny_smolvlm(tmp_path)
    backend = vlm.load(tmp_path)
    shown = [np.full((40, 60, 3), 200, np.uint8), np.zeros((64, 32, 3), np.uint8)]
    text, tokens = backend.generate(shown, "what is it?", 5)
    assert isinstance(text, str)
    assert tokens > 5
    assert backend.generate(shown, "what is it?", 5) == (text, tokens)
    backend.close()


def tiny_smolvlm(folder):
    """A random Idefics3 (SmolVLM's class) of a few thousand parameters, with its processor, saved as the hub has it."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3Processor,
        PreTrainedTokenizerFast,
    )
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    torch.manual_seed(0)
    special = [
        "<pad>",
        "<s>",
        "</s>",
        "<unk>",
        "<image>",
        "<fake_token_around_image>",
        "<global-img>",
        "<end_of_utterance>",
    ]
    special += [f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7)]
    words = [*special, "User", "Assistant", ":", "what", "is", "it", "?", "\n"]
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=special[4:],
    )
    template = (
        "{% for message in messages %}User:{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}<image>{% else %}"
        "{{ part['text'] }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}Assistant:"
    )
    sizes = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}}
    prepare = Idefics3ImageProcessorPil(do_image_splitting=True, **sizes)
    Idefics3Processor(prepare, tokenizer, image_seq_len=4, chat_template=template).save_pretrained(folder)
    text = {"model_type": "llama", "vocab_size": len(words), "hidden_size": 16, "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1,
            "eos_token_id": 2}  # fmt: skip
    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    config = Idefics3Config(
        text_config=text, vision_config=vision, scale_factor=2, image_token_id=words.index("<image>"), pad_token_id=0
    )
    Idefics3ForConditionalGeneration(config).save_pretrained(folder, safe_serialization=True)
