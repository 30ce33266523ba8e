"""Natural languages: of prose, with code standing in it or not; never of code, never guessed."""

import numpy as np
import pyarrow as pa
import pytest

from codeft_assets.curation.quality.natural_language import UNKNOWN, identify_languages
from codeft_assets.source import Source
from codeft_assets.sources import SOURCES

CODE = "\n\n```python\ndef total(numbers):\n    return sum(number for number in numbers if number % 2 == 0)\n```\n"
SENTENCES = {
    "en": "Write a function that returns the sum of the even numbers of a list.",
    "de": "Eine Funktion ruft sich selbst auf, bis die kleinste Aufgabe direkt beantwortet wird.",
    "fr": "Écrivez une fonction qui renvoie la somme des nombres pairs d'une liste.",
    "ru": "Напишите функцию, которая возвращает сумму чётных чисел списка.",
    "ja": "リストの偶数の合計を返す関数を書きなさい。",
    "zh": "编写一个函数，返回列表中所有偶数的和。",
    "th": "เขียนฟังก์ชันที่คืนค่าผลรวมของเลขคู่ในรายการ",
    "ko": "리스트의 짝수 합을 반환하는 함수를 작성하세요.",
}


def identify(*texts, is_prose=True):
    return identify_languages(pa.array(texts, pa.large_string()), np.full(len(texts), is_prose)).to_list()


@pytest.mark.parametrize("code", SENTENCES)
def test_a_sentence_is_identified_also_where_code_stands_around_it(code):
    assert identify(SENTENCES[code], SENTENCES[code] + CODE * 3, CODE + SENTENCES[code]) == [code] * 3


@pytest.mark.parametrize(
    "text", ["", "ok", CODE, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20", "https://a.b/" * 9]
)
def test_nothing_is_guessed_where_no_prose_is(text):
    assert identify(text) == [UNKNOWN]


def test_code_is_in_no_natural_language():
    assert identify(SENTENCES["ru"], is_prose=False) == [UNKNOWN]


def test_a_source_names_languages_that_exist():
    entry = next(iter(SOURCES.values()))
    fields = {name: getattr(entry, name) for name in ("about", "origin", "adapter", "domain", "format", "license")}
    with pytest.raises(ValueError, match="natural_languages"):
        Source(name="x", homepage="", natural_languages=("english",), **fields)
