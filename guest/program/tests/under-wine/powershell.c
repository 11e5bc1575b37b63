/* For tests under Wine: in place of PowerShell. Writes down how it was called and what it read, two lines a call. */
#include <stdio.h>
#include <windows.h>

int main(void)
{
	char block[4096];
	size_t length;
	FILE *log = fopen("C:\\powershell.log", "ab");
	if (!log)
		return 9;
	fprintf(log, "%s\n", GetCommandLineA());
	while ((length = fread(block, 1, sizeof block, stdin)) > 0)
		fwrite(block, 1, length, log);
	fputc('\n', log);
	return fclose(log) ? 9 : 0;
}
