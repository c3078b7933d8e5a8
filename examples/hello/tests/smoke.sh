#!/bin/sh
# Does the program that was built say what it should? Argument: the program.
set -eu

check() {
    expected=$1
    shift
    said=$("$@")
    if [ "$said" != "$expected" ]; then
        echo "expected: $expected" >&2
        echo "said:     $said" >&2
        exit 1
    fi
    echo "ok: $said"
}

check 'Hello, world!' "$1"
check 'Hello, Grace Hopper!' "$1" Grace Hopper
