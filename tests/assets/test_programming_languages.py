"""The language of code without a file's name: known by its lines, and prose stays prose."""

import pytest

from codeft_assets.curation.ingest.programming_languages import detect_language

PROGRAMS = {
    "swift": """\
import Foundation

func total(_ numbers: [Int]) -> Int {
    var sum = 0
    for n in numbers {
        sum += n
    }
    return sum
}
""",
    "kotlin": """\
fun total(numbers: List<Int>): Int {
    var sum = 0
    for (n in numbers) {
        sum += n
    }
    return sum
}
""",
    "scala": """\
object Sums {
  def total(numbers: List[Int]): Int = {
    numbers match {
      case Nil => 0
      case first :: rest => first + total(rest)
    }
  }
}
""",
    "ruby": """\
class Sums
  attr_reader :numbers

  def initialize(numbers)
    @numbers = numbers
  end

  def total
    sum = 0
    numbers.each { |n| sum += n }
    sum
  end
end
""",
    "php": """\
<?php
function total($numbers) {
    $sum = 0;
    foreach ($numbers as $n) {
        $sum += $n;
    }
    return $sum;
}
""",
    "csharp": """\
using System;

public class Sums
{
    public int Total(int[] numbers)
    {
        int sum = 0;
        foreach (var n in numbers)
        {
            sum += n;
        }
        return sum;
    }
}
""",
    "lua": """\
local function total(numbers)
  local sum = 0
  for _, n in ipairs(numbers) do
    sum = sum + n
  end
  return sum
end
""",
    "r": """\
total <- function(numbers) {
  sum <- 0
  for (n in numbers) {
    sum <- sum + n
  }
  sum
}
""",
    "sql": """\
select customer, sum(amount) as total
from orders
where year = 2026
group by customer
order by total desc;
""",
    "java": """\
class Solution {
    public int total(int[] numbers) {
        int sum = 0;
        for (int n : numbers) {
            sum += n;
        }
        return sum;
    }
}
""",
    "cpp": """\
class Solution {
public:
    int total(vector<int>& numbers) {
        int sum = 0;
        for (auto n : numbers) sum += n;
        return sum;
    }
};
""",
    "typescript": """\
export function total(numbers: number[]): number {
  let sum = 0;
  for (const n of numbers) {
    sum += n;
  }
  return sum;
}
""",
    "javascript": """\
function total(numbers) {
  let sum = 0;
  for (const n of numbers) {
    sum += n;
  }
  return sum;
}
""",
    "elixir": """\
defmodule Sums do
  def total([]), do: 0
  def total([n | rest]), do: n + total(rest)
end
""",
    "haskell": """\
module Sums where

import Data.List (foldl')

total :: [Int] -> Int
total = foldl' (+) 0
""",
    "julia": """\
function total(numbers::Vector{Int})
    sum = 0
    for n in numbers
        sum += n
    end
    return sum
end
""",
    "go": """\
package sums

func Total(numbers []int) int {
	sum := 0
	for _, n := range numbers {
		sum += n
	}
	return sum
}
""",
    "rust": """\
pub fn total(numbers: &[i64]) -> i64 {
    let mut sum = 0;
    for n in numbers {
        sum += n;
    }
    sum
}
""",
}


@pytest.mark.parametrize("language", PROGRAMS)
def test_a_program_is_known_by_its_lines(language):
    assert detect_language(PROGRAMS[language]) == language


@pytest.mark.parametrize("language", PROGRAMS)
def test_its_indentation_does_not_matter(language):
    assert detect_language("\n".join("    " + line for line in PROGRAMS[language].split("\n"))) == language


def test_wrapped_prose_is_no_program():
    prose = "The sum is found in one pass over the list,\n"
    assert detect_language(f"{prose * 15}from the first number to the last.\n{prose * 15}") == "text"
