/* SPDX-License-Identifier: Apache-2.0 */
/* The screen: 80 by 25 characters of text, or a frame buffer that is written with a PSF font (psfgettable(1)). */
#include "supervisor.h"

#define PSF1_MAGIC 0x0436u
#define PSF2_MAGIC UINT32_C(0x864ab572)
#define WHITE UINT32_C(0xd0d0d0)
#define TEXT_ATTRIBUTE 0x0700u
#define PAGE_2M UINT64_C(0x200000)
#define SCREEN_WINDOW UINT64_C(0x8000000000) /* the second entry of the PML4 */

extern uint64_t page_pml4[], page_screen[];

static struct {
	struct screen_description at;
	volatile uint8_t *base;
	const uint8_t *glyphs;
	uint32_t glyph_bytes, glyph_width, glyph_height;
	uint32_t columns, rows, column, row;
} screen;

static uint32_t read32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static bool read_font(const uint8_t *font, size_t size)
{
	if (!font || size < 32)
		return false;
	if ((read32(font) & 0xffff) == PSF1_MAGIC) {
		screen.glyphs = font + 4;
		screen.glyph_width = 8;
		screen.glyph_height = screen.glyph_bytes = font[3];
	} else if (read32(font) == PSF2_MAGIC) {
		screen.glyphs = font + read32(font + 8);
		screen.glyph_bytes = read32(font + 20);
		screen.glyph_height = read32(font + 24);
		screen.glyph_width = read32(font + 28);
	} else {
		return false;
	}
	return screen.glyph_height && screen.glyph_width &&
	       (size_t)(screen.glyphs - font) + 128 * (size_t)screen.glyph_bytes <= size;
}

/* A frame buffer above 4 GiB is mapped at SCREEN_WINDOW, the first GiB from its 2 MiB page on. */
static volatile uint8_t *map(uint64_t address)
{
	uint64_t *pdpt = page_screen, *pd = page_screen + 512;

	if (address >> 32 == 0)
		return (volatile uint8_t *)address;
	for (unsigned i = 0; i < 512; i++)
		pd[i] = (address & ~(PAGE_2M - 1)) + i * PAGE_2M + 0x83;
	pdpt[0] = (uint64_t)pd | 3;
	page_pml4[1] = (uint64_t)pdpt | 3;
	return (volatile uint8_t *)(SCREEN_WINDOW + (address & (PAGE_2M - 1)));
}

static void clear(void)
{
	for (uint32_t y = 0; y < screen.at.height; y++)
		for (uint32_t x = 0; x < screen.at.pitch / 4; x++)
			((volatile uint32_t *)(screen.base + (uint64_t)y * screen.at.pitch))[x] =
				screen.at.is_text ? TEXT_ATTRIBUTE | TEXT_ATTRIBUTE << 16 : 0;
}

void screen_init(const struct loader *loader)
{
	if (!loader->has_screen)
		return;
	screen.at = loader->screen;
	if (screen.at.is_text) {
		screen.columns = screen.at.width;
		screen.rows = screen.at.height;
	} else if (read_font(loader->font, loader->font_size)) {
		screen.columns = screen.at.width / screen.glyph_width;
		screen.rows = screen.at.height / screen.glyph_height;
	}
	if (!screen.rows)
		return;
	screen.base = map(screen.at.address);
	clear();
}

static void draw_glyph(uint32_t column, uint32_t row, uint8_t c)
{
	const uint32_t row_bytes = (screen.glyph_width + 7) / 8;
	const uint8_t *glyph = screen.glyphs + (size_t)(c < 128 ? c : '?') * screen.glyph_bytes;

	for (uint32_t y = 0; y < screen.glyph_height; y++) {
		volatile uint32_t *line = (volatile uint32_t *)(screen.base +
			(uint64_t)(row * screen.glyph_height + y) * screen.at.pitch) + column * screen.glyph_width;

		for (uint32_t x = 0; x < screen.glyph_width; x++)
			line[x] = glyph[y * row_bytes + x / 8] >> (7 - x % 8) & 1 ? WHITE : 0;
	}
}

static void draw(uint32_t column, uint32_t row, uint8_t c)
{
	if (screen.at.is_text)
		*(volatile uint16_t *)(screen.base + row * screen.at.pitch + column * 2) = (uint16_t)(TEXT_ATTRIBUTE | c);
	else
		draw_glyph(column, row, c);
}

/* Reading a frame buffer is slow: what is scrolled away is not moved, the screen begins anew at its top. */
static void new_line(void)
{
	screen.column = 0;
	screen.row = (screen.row + 1) % screen.rows;
	for (uint32_t i = 0; i < screen.columns; i++)
		draw(i, screen.row, ' ');
}

void screen_putc(char c)
{
	if (!screen.rows)
		return;
	if (c == '\r') {
		screen.column = 0;
	} else if (c == '\n') {
		new_line();
	} else {
		if (screen.column == screen.columns)
			new_line();
		draw(screen.column++, screen.row, (uint8_t)c);
	}
}
