/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of docs/instructions.md, made of the decoder's rows: every opcode, mandatory prefix and opcode extension with an
 * operand in memory is decoded and named by Zydis. With X86VCPU_UPDATE set the table is written, else compared.
 */
#include <Zydis/Zydis.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emul/execute.h"
#include "guest_fixture.h"

Suite *instructions_suite(void);

#define BEGIN "<!-- made by the unit test `instructions` -->\n"
#define END "<!-- end -->\n"
#define NAMES_BYTES 512u

/* An opcode of one map, and the instructions that it begins. */
struct row {
	char names[NAMES_BYTES];
	unsigned forms;
};

struct map {
	const char *name;
	uint8_t bytes[3];
	unsigned count;
	bool vex;
	struct row row[256];
};

static struct map maps[] = {
	{.name = "", .count = 0},
	{.name = "0F ", .bytes = {0x0f}, .count = 1},
	{.name = "0F 38 ", .bytes = {0x0f, 0x38}, .count = 2},
	{.name = "VEX 0F ", .bytes = {0xc4, 0xe1, 0x78}, .count = 3, .vex = true},
	{.name = "VEX 0F 38 ", .bytes = {0xc4, 0xe2, 0x78}, .count = 3, .vex = true},
};
#define MAPS (sizeof(maps) / sizeof(maps[0]))

static ZydisDecoder decoder;

static void add_name(struct row *row, ZydisMnemonic mnemonic)
{
	const char *name = ZydisMnemonicGetString(mnemonic);
	char upper[32];
	unsigned i;

	for (i = 0; name[i] && i < sizeof(upper) - 1; i++)
		upper[i] = name[i] >= 'a' && name[i] <= 'z' ? (char)(name[i] - 32) : name[i];
	upper[i] = 0;
	for (const char *at = row->names; (at = strstr(at, upper)); at++)
		if ((at == row->names || at[-1] == ' ') && (!at[i] || at[i] == ','))
			return;
	ck_assert_uint_lt(strlen(row->names) + i + 3, NAMES_BYTES);
	if (row->names[0])
		strcat(row->names, ", ");
	strcat(row->names, upper);
}

/* One encoding, if the library executes it on device memory. */
static void try(struct guest_fixture *f, struct row *row, const uint8_t *bytes)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction z;
	struct decode d;

	if (decode_bytes(&d, bytes, DECODE_MAX_LENGTH, 8) != DECODE_OK || !execute_knows(&f->g, &d))
		return;
	ck_assert(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, DECODE_MAX_LENGTH, &z, operands)));
	add_name(row, z.mnemonic);
	row->forms++;
}

static unsigned put_prefix(uint8_t *bytes, const struct map *map, unsigned prefix, unsigned variant)
{
	static const uint8_t legacy[4] = {0, 0x66, 0xf3, 0xf2};
	unsigned at = 0;

	if (!map->vex && prefix)
		bytes[at++] = legacy[prefix];
	if (!map->vex && variant)
		bytes[at++] = 0x48;
	memcpy(bytes + at, map->bytes, map->count);
	at += map->count;
	if (map->vex)
		bytes[at - 1] |= (uint8_t)(prefix | variant << 2);
	return at;
}

/* With each prefix, with and without REX.W or VEX.L, and with each opcode extension. */
static void try_opcode(struct guest_fixture *f, struct map *map, unsigned opcode)
{
	for (unsigned prefix = 0; prefix < 4; prefix++)
		for (unsigned variant = 0; variant < 2; variant++)
			for (unsigned extension = 0; extension < 8; extension++) {
				uint8_t bytes[DECODE_MAX_LENGTH] = {0};
				unsigned at = put_prefix(bytes, map, prefix, variant);

				bytes[at++] = (uint8_t)opcode;
				bytes[at] = (uint8_t)(extension << 3 | 3);
				try(f, &map->row[opcode], bytes);
			}
}

static bool is_map(const struct map *map, unsigned opcode)
{
	return map == &maps[0] && (opcode == 0x0f || (opcode & 0xf0) == 0x40 || opcode == 0x66 || opcode == 0x67 ||
				   opcode == 0xc4 || opcode == 0xc5 || opcode == 0xf0 || (opcode & 0xfe) == 0xf2 ||
				   (opcode & 0xfe) == 0x64 || (opcode & 0xe7) == 0x26);
}

static unsigned collect(void)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);
	unsigned forms = 0;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (unsigned i = 0; i < MAPS; i++)
		for (unsigned opcode = 0; opcode < 256; opcode++)
			if (!is_map(&maps[i], opcode) && !(i == 1 && opcode == 0x38)) {
				try_opcode(f, &maps[i], opcode);
				forms += maps[i].row[opcode].forms != 0;
			}
	return forms;
}

/* Opcodes in sequence that begin the same instructions are a row. */
static void print_map(FILE *out, const struct map *map)
{
	for (unsigned first = 0, last; first < 256; first = last + 1) {
		const struct row *row = &map->row[first];

		for (last = first; last < 255 && strcmp(map->row[last + 1].names, row->names) == 0; last++)
			;
		if (!row->forms)
			continue;
		fprintf(out, "| %s%02X", map->name, first);
		if (last > first)
			fprintf(out, " to %02X", last);
		fprintf(out, " | %s |\n", row->names);
	}
}

static char *read_file(const char *path)
{
	FILE *file = fopen(path, "r");
	char *text = calloc(1, 65536);

	ck_assert_msg(file != NULL, "%s", path);
	ck_assert_uint_lt(fread(text, 1, 65535, file), 65535);
	fclose(file);
	return text;
}

static void update(const char *path, const char *text, const char *begin, const char *end, const char *table)
{
	FILE *file = fopen(path, "w");

	ck_assert_msg(file != NULL, "%s", path);
	fprintf(file, "%.*s%s%s", (int)(begin - text), text, table, end);
	fclose(file);
}

START_TEST(documentation_has_every_row)
{
	static const char path[] = DOCS "/instructions.md";
	char *text = read_file(path), *table = NULL, *begin, *end;
	size_t size;
	FILE *out = open_memstream(&table, &size);
	const unsigned opcodes = collect();

	fputs("| opcode | instruction |\n|---|---|\n", out);
	for (unsigned i = 0; i < MAPS; i++)
		print_map(out, &maps[i]);
	fclose(out);
	begin = strstr(text, BEGIN);
	end = strstr(text, END);
	ck_assert(begin && end && end > begin);
	begin += strlen(BEGIN);
	if (getenv("X86VCPU_UPDATE"))
		update(path, text, begin, end, table);
	else
		ck_assert_msg((size_t)(end - begin) == strlen(table) && memcmp(begin, table, strlen(table)) == 0,
			      "docs/instructions.md is not the decoder's %u opcodes; run this test with X86VCPU_UPDATE=1", opcodes);
	free(text);
	free(table);
}
END_TEST

Suite *instructions_suite(void)
{
	Suite *suite = suite_create("instructions");
	TCase *docs = tcase_create("docs");

	tcase_add_test(docs, documentation_has_every_row);
	suite_add_tcase(suite, docs);
	return suite;
}
