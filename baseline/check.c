/* Ends the program with a message if the CPU lacks a feature that the build or libdpdk assumes, before any
 * code of the program or its libraries runs. check.rs compiles this file and lists the features.
 *
 * The check is in C because it must not need the features that it checks for. All Rust code, also Rust's
 * start-up before main, is built for the baseline, where even a copy of 16 bytes is an AVX instruction. This
 * file is compiled for any x86-64, with general registers only.
 *
 * The dynamic linker calls the functions in .preinit_array before the constructors of all libraries (System V
 * ABI, "Initialization and Termination Functions"). libdpdk's constructors already need SSE4.2. libc's
 * constructors have not run either, so libc's variables are not set yet.
 *
 * The bits are from Intel's Software Developer's Manual, volume 2A, CPUID, and for lzcnt from AMD's
 * Architecture Programmer's Manual, volume 3, appendix E.
 */
#include <cpuid.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* The CPUID registers that have the bits. */
enum cpuid_register { LEAF_1_ECX, LEAF_7_EBX, EXTENDED_1_ECX, REGISTERS };

static const struct {
	const char *name;
	enum cpuid_register reg;
	unsigned bit;
} features[] = {
#define FEATURE(name, reg, bit) { name, reg, 1u << (bit) },
	ASSUMED_FEATURES
};

#define OSXSAVE (1u << 27)
/* XCR0: the operating system saves the SSE registers and the upper halves of the AVX registers. */
#define SSE_AND_AVX_STATE 6u

static void read_cpuid(unsigned registers[REGISTERS])
{
	unsigned eax, ebx, ecx, edx;

	if (__get_cpuid(1, &eax, &ebx, &ecx, &edx))
		registers[LEAF_1_ECX] = ecx;
	if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
		registers[LEAF_7_EBX] = ebx;
	if (__get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx))
		registers[EXTENDED_1_ECX] = ecx;
}

static int avx_state_is_saved(unsigned leaf_1_ecx)
{
	unsigned low, high;

	if (!(leaf_1_ecx & OSXSAVE))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (low & SSE_AND_AVX_STATE) == SSE_AND_AVX_STATE;
}

static void print(const char *text)
{
	/* A failure cannot be reported anywhere. */
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		return;
}

static void print_program(const char *path)
{
	const char *slash = strrchr(path, '/');

	print(slash == NULL ? path : slash + 1);
}

static void check(int argc, char **argv, char **environment)
{
	unsigned registers[REGISTERS] = { 0 };
	const char *missing[sizeof(features) / sizeof(features[0]) + 1];
	size_t count = 0;

	(void)environment;
	read_cpuid(registers);
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
		if (!(registers[features[i].reg] & features[i].bit))
			missing[count++] = features[i].name;
	if (count == 0 && ASSUMES_AVX && !avx_state_is_saved(registers[LEAF_1_ECX]))
		missing[count++] = "AVX registers saved by the operating system";
	if (count == 0)
		return;
	print_program(argc > 0 ? argv[0] : "guideway");
	print(": " NEEDS " (missing: ");
	for (size_t i = 0; i < count; i++) {
		print(i == 0 ? "" : ", ");
		print(missing[i]);
	}
	print("); " ADVICE "\n");
	_exit(1);
}

__attribute__((section(".preinit_array"), used))
static void (*const before_all_constructors)(int, char **, char **) = check;
