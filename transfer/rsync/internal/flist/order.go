package flist

import (
	"cmp"
	"slices"
	"strings"
	"sync"
)

// Compare returns the order of a and b: negative if a comes first. It looks at
// names and at which of them are directories.
//
// The root, ".", is the first, and a directory comes before what is in it. Else
// the first elements that differ decide. An element is a directory's if more
// follow it or if the entry is a directory; the other elements come before it.
// Elements of files are compared as bytes, those of directories as if a "/"
// stood behind them.
//
// A directory and a file of the same name are not equal and may stand apart.
func Compare(a, b *Entry) int { return compare(a.Name, b.Name, a.IsDir(), b.IsDir()) }

func compare(x, y string, dirX, dirY bool) int {
	i := 0
	for i < len(x) && i < len(y) && x[i] == y[i] {
		i++
	}
	if i == len(x) && i == len(y) {
		return fileFirst(dirX, dirY)
	}
	switch {
	case x == ".":
		return -1
	case y == ".":
		return 1
	case i == len(x) && y[i] == '/':
		return -1
	case i == len(y) && x[i] == '/':
		return 1
	}
	dirX = dirX || strings.IndexByte(x[i:], '/') >= 0
	dirY = dirY || strings.IndexByte(y[i:], '/') >= 0
	if dirX != dirY {
		return fileFirst(dirX, dirY)
	}
	end := -1
	if dirX {
		end = '/'
	}
	return cmp.Compare(at(x, i, end), at(y, i, end))
}

func fileFirst(dirX, dirY bool) int {
	switch {
	case dirX == dirY:
		return 0
	case dirY:
		return -1
	}
	return 1
}

// at returns the byte at i, or end behind the last.
func at(s string, i, end int) int {
	if i < len(s) {
		return int(s[i])
	}
	return end
}

// Sort puts a list into the order of Compare; entries that are equal stay in
// the order in which they were. Unless they are in order already it takes 48
// bytes for each while it runs, and two cores for a long list.
func Sort(list []*Entry) {
	if slices.IsSortedFunc(list, Compare) {
		return
	}
	all := make([]item, len(list))
	for i, e := range list {
		all[i] = item{e.Name, e, e.IsDir()}
	}
	half := make([]item, len(list)/2+2)
	if len(list) < 1<<14 {
		mergeSort(all, half)
	} else {
		mid := (len(list) + 1) / 2
		quarter := (mid + 1) / 2
		var wg sync.WaitGroup
		wg.Go(func() { mergeSort(all[:mid], half[:quarter]) })
		mergeSort(all[mid:], half[quarter:])
		wg.Wait()
		merge(all, mid, half)
	}
	for i := range all {
		list[i] = all[i].entry
	}
}

// An item has beside its entry what Compare looks at: sorting waits for memory
// more than for anything else.
type item struct {
	name  string
	entry *Entry
	isDir bool
}

// after reports whether a comes after b.
func (a *item) after(b *item) bool { return compare(a.name, b.name, a.isDir, b.isDir) > 0 }

// mergeSort sorts a; half has room for half of a. The sort of package slices,
// being in place, takes twice as long. Walks of a tree arrive nearly in order,
// which makes most merges needless.
func mergeSort(a, half []item) {
	if len(a) < 2 {
		return
	}
	mid := (len(a) + 1) / 2
	mergeSort(a[:mid], half)
	mergeSort(a[mid:], half)
	merge(a, mid, half)
}

// merge merges the sorted a[:mid] and a[mid:]; half has room for the first.
func merge(a []item, mid int, half []item) {
	if !a[mid-1].after(&a[mid]) {
		return
	}
	left, right := half[:copy(half, a[:mid])], a[mid:]
	for out := 0; len(left) > 0; out++ {
		if len(right) > 0 && left[0].after(&right[0]) {
			a[out], right = right[0], right[1:]
		} else {
			a[out], left = left[0], left[1:]
		}
	}
}
