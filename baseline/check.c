/* Ends the program with a message, before anything of it or its libraries runs, on a CPU that lacks what the
 * build or libdpdk assumes. check.rs compiles it, and says what that is.
 *
 * C and not Rust, because what checks must not need what it checks for: Rust code is all built for the
 * baseline, where even a copy of 16 bytes is an instruction of AVX, and so is Rust's own start before main.
 * This file is compiled for any x86-64, and for its general registers alone.
 *
 * The dynamic linker calls the functions in .preinit_array before the constructors of all libraries (System V
 * ABI, "Initialization and Termination Functions"). Those of libdpdk already need SSE4.2. Those of libc have
 * not run either, so libc's variables have no values yet.
 *
 * The bits are those of Intel's Software Developer's Manual, volume 2A, CPUID, and for lzcnt of AMD's
 * Architecture Programmer's Manual, volume 3, appendix E.
 */
#include <cpuid.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* The registers that have them. */
enum answer { LEAF_1_ECX, LEAF_7_EBX, EXTENDED_1_ECX, ANSWERS };

static const struct {
	const char *name;
	enum answer answer;
	unsigned bit;
} features[] = {
#define FEATURE(name, answer, bit) { name, answer, 1u << (bit) },
	ASSUMED_FEATURES
};

#define OSXSAVE (1u << 27)
/* XCR0: the operating system saves the registers of SSE and the upper halves of AVX. */
#define SSE_AND_AVX_STATE 6u

static void ask(unsigned answers[ANSWERS])
{
	unsigned eax, ebx, ecx, edx;

	if (__get_cpuid(1, &eax, &ebx, &ecx, &edx))
		answers[LEAF_1_ECX] = ecx;
	if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
		answers[LEAF_7_EBX] = ebx;
	if (__get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx))
		answers[EXTENDED_1_ECX] = ecx;
}

static int avx_state_is_saved(unsigned leaf_1_ecx)
{
	unsigned low, high;

	if (!(leaf_1_ecx & OSXSAVE))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (low & SSE_AND_AVX_STATE) == SSE_AND_AVX_STATE;
}

static void say(const char *text)
{
	/* There is nobody to tell that nothing can be told. */
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		return;
}

static void say_program(const char *path)
{
	const char *slash = strrchr(path, '/');

	say(slash == NULL ? path : slash + 1);
}

static void check(int argc, char **argv, char **environment)
{
	unsigned answers[ANSWERS] = { 0 };
	const char *missing[sizeof(features) / sizeof(features[0]) + 1];
	size_t count = 0;

	(void)environment;
	ask(answers);
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
		if (!(answers[features[i].answer] & features[i].bit))
			missing[count++] = features[i].name;
	if (count == 0 && ASSUMES_AVX && !avx_state_is_saved(answers[LEAF_1_ECX]))
		missing[count++] = "AVX registers saved by the operating system";
	if (count == 0)
		return;
	say_program(argc > 0 ? argv[0] : "guideway");
	say(": " NEEDS " (missing: ");
	for (size_t i = 0; i < count; i++) {
		say(i == 0 ? "" : ", ");
		say(missing[i]);
	}
	say("); " ADVICE "\n");
	_exit(1);
}

__attribute__((section(".preinit_array"), used))
static void (*const before_all_constructors)(int, char **, char **) = check;
