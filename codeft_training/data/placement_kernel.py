"""Numba kernels of packing: best fit with a tree of free sizes, gaps filled by splitting, tokens copied into rows."""

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def best_fit(sizes, row_tokens, free, first, last, following):
    """Put each part, in order, into the row with the smallest sufficient free space; return the number of rows.

    Writes ``free`` a row, and a row's parts in order of arrival as a linked list: ``first`` and ``last`` a row,
    ``following`` a part. A binary tree over the sizes 0..row_tokens marks the free sizes that some row has, so that the
    smallest sufficient one is found in log2(row_tokens) steps.
    """
    # leaves are at base..2 * base - 1, the parent of a node is node // 2: no pointers, one small array that stays in L1
    base = 1
    while base < row_tokens + 1:
        base *= 2
    tree = np.zeros(2 * base, dtype=np.uint8)
    # rows of equal free space are one stack: any of them is a best fit, and a stack needs no search
    newest = np.full(row_tokens + 1, -1, dtype=np.int64)
    below = np.full(len(sizes), -1, dtype=np.int64)
    num_rows = 0
    for part in range(len(sizes)):
        size = sizes[part]
        space = _smallest_at_least(tree, base, size)
        if space < 0:
            row, left = num_rows, row_tokens - size
            num_rows += 1
            first[row] = part
        else:
            row, left = newest[space], space - size
            newest[space] = below[row]
            if newest[space] < 0:
                _clear(tree, base + space)
            following[last[row]] = part
        last[row] = part
        free[row] = left
        # a full row takes no part, so it is in no stack
        if left:
            below[row] = newest[left]
            newest[left] = row
            _set(tree, base + left)
    return num_rows


@numba.njit(cache=True, nogil=True, inline="always")
def _set(tree, node):
    """Mark a leaf and its ancestors; the ancestors of a marked node are marked already."""
    while node and not tree[node]:
        tree[node] = 1
        node >>= 1


@numba.njit(cache=True, nogil=True, inline="always")
def _clear(tree, node):
    """Unmark a leaf, and its ancestors as long as their other child is unmarked too."""
    tree[node] = 0
    node >>= 1
    while node and not (tree[2 * node] or tree[2 * node + 1]):
        tree[node] = 0
        node >>= 1


@numba.njit(cache=True, nogil=True, inline="always")
def _smallest_at_least(tree, base, size):
    """Return the smallest marked size that is at least ``size``, or -1."""
    node = base + size
    if tree[node]:
        return size
    # climb until a right sibling is marked: all of its leaves are larger; then descend to its leftmost marked leaf
    while node > 1:
        if node % 2 == 0 and tree[node + 1]:
            node += 1
            while node < base:
                node = 2 * node if tree[2 * node] else 2 * node + 1
            return node - base
        node >>= 1
    return -1


@numba.njit(cache=True, nogil=True)
def holds_whole(first, following, part_whole):
    """Return for each row whether it holds a part that must stay whole."""
    found = np.zeros(len(first), dtype=np.bool_)
    for row in range(len(first)):
        part = first[row]
        while part >= 0 and not found[row]:
            found[row] = part_whole[part] > 0
            part = following[part]
    return found


@numba.njit(cache=True, nogil=True)
def fill_gaps(order, free, first, following, part_document, part_start, part_size, part_whole):
    """Split parts of the last rows into the gaps of the first until one row at most is short, or only whole parts stay.

    ``order`` lists the rows. The arrays of parts have room for one more part a row; ``first`` becomes -1 for a row that
    has given everything away. Return the number of parts.
    """
    num_parts = len(part_size) - len(order)
    # two pointers towards each other: every turn moves a part or a pointer, so the time is linear in parts and rows
    at, donor = 0, len(order) - 1
    stays, part = -1, first[order[donor]] if len(order) else -1
    while at < donor:
        row, source = order[at], order[donor]
        gap = free[row]
        if gap == 0:
            at += 1
            continue
        if part < 0:
            donor -= 1
            stays, part = -1, first[order[donor]]
            continue
        if part_whole[part]:
            stays, part = part, following[part]
            continue
        size = part_size[part]
        if size <= gap:  # all of the part moves
            given, taken, part = part, size, following[part]
            if stays < 0:
                first[source] = part
            else:
                following[stays] = part
        else:  # its head moves as a new part; the gap is closed, so a row causes one cut at most
            given, taken = num_parts, gap
            num_parts += 1
            part_document[given], part_start[given], part_size[given] = part_document[part], part_start[part], gap
            part_start[part] += gap
            part_size[part] -= gap
        # order within a row is free: the head of the list is the cheapest place
        following[given] = first[row]
        first[row] = given
        free[row] -= taken
        free[source] += taken
    return num_parts


@numba.njit(cache=True, nogil=True)
def lay_out(first, following, row, part_document, part_start, part_size, pieces):
    """Write the pieces row by row, from ``row`` on, and return the number of rows.

    ``pieces`` holds an array each for row, start in the row, length, document, start in the document.
    """
    piece = 0
    for i in range(len(first)):
        part, at = first[i], 0
        if part < 0:  # gave everything away: rows are numbered without it
            continue
        while part >= 0:
            pieces[0, piece], pieces[1, piece], pieces[2, piece] = row, at, part_size[part]
            pieces[3, piece], pieces[4, piece] = part_document[part], part_start[part]
            at += part_size[part]
            piece += 1
            part = following[part]
        row += 1
    return row


@numba.njit(cache=True, nogil=True)
def copy_pieces(target, source, length, tokens, loss_mask, row_tokens, row_loss_mask):
    """Copy ``length[i]`` tokens and loss flags from ``source[i]`` of the flat arrays to ``target[i]`` of the rows.

    The first token of a piece has no loss: the token before it belongs to another document, or to another row.
    """
    # pieces are sorted by target, so that writes to the memory-mapped rows are sequential; reads are not
    for i in range(len(length)):
        at, begin, size = target[i], source[i], length[i]
        row_tokens[at : at + size] = tokens[begin : begin + size]
        row_loss_mask[at : at + size] = loss_mask[begin : begin + size]
        row_loss_mask[at] = 0
