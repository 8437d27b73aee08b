// Measure with ROI sets
//
// Opens an image, subtracts the background (rolling ball), measures every ROI of its ROI set and saves the Results file:
// byte for byte the one "cellpose-fiji measure" writes for the same image. No Python is needed.
//
// Input   one image and its ROI set; or a folder of images (subfolders are conditions) and a folder of ROI sets.
//         The ROI set of COND/f1_EdU.tif is COND/f1_RoiSet.zip, or as the bridge names it COND/COND_f1_RoiSet.zip (of
//         COND/day1/f1_EdU.tif: COND/COND_day1_f1_RoiSet.zip; letters that no file name may have become _).
//         headless: images that carry their ROIs as an overlay, as "cellpose-fiji measure --overlay-tiff" writes them
//         (ImageJ opens no ROI set without a window).
// Output  OUT/COND/f1_EdU_Results.csv for each image and OUT/COND.csv for each condition.
//         Existing results are not overwritten.
//
// In the window  choose it from the menu, or run it with the arguments below.
// Headless       ImageJ --headless -macro Measure_with_RoiSets.ijm "images=[/path/overlays] out=[/path/results]"
// Arguments      images=[..] rois=[..] out=[..] suffix=[_EdU.tif] radius=[50] or [none]
//                It returns "OK: ..." or "Error: ...".
// In a macro     run("Measure with RoiSets", "images=[..] ..."), as the Recorder writes it

var args = "";
var returns = false;
var headless = false;
var radius = "50";
var suffix = "_EdU.tif";
var rois = "";

args = getArgument();
// Fiji shows what a macro returns in a window: only who gives arguments gets an answer.
if (args != "") returns = true;
// run("Measure with RoiSets", "...") hands its options over in another way than runMacro(file, "...").
options = "" + call("ij.Macro.getOptions");
if (args == "" && indexOf(options, "=") > 0) args = options;
if (call("java.awt.GraphicsEnvironment.isHeadless") == "true") headless = true;
if (args == "") {
	Dialog.create("Measure with ROI sets");
	Dialog.addMessage("Folders: subfolders are the conditions; f1_EdU.tif is measured in f1_RoiSet.zip.\nOr one image and its ROI set.");
	Dialog.addFile("Images (folder, or one image)", call("ij.Prefs.get", "cellposefiji.images", ""));
	Dialog.addFile("ROIs (folder of ROI sets, or one)", call("ij.Prefs.get", "cellposefiji.rois", ""));
	Dialog.addString("Suffix of the measured images", call("ij.Prefs.get", "cellposefiji.suffix", suffix));
	Dialog.addString("Radius of the rolling ball (px, or none)", call("ij.Prefs.get", "cellposefiji.radius", radius));
	Dialog.addDirectory("Out (folder for the results)", call("ij.Prefs.get", "cellposefiji.results", ""));
	Dialog.show();
	images = Dialog.getString();
	rois = Dialog.getString();
	suffix = Dialog.getString();
	radius = Dialog.getString();
	out = Dialog.getString();
	call("ij.Prefs.set", "cellposefiji.images", images);
	call("ij.Prefs.set", "cellposefiji.rois", rois);
	call("ij.Prefs.set", "cellposefiji.suffix", suffix);
	call("ij.Prefs.set", "cellposefiji.radius", radius);
	call("ij.Prefs.set", "cellposefiji.results", out);
} else {
	images = option("images", "");
	rois = option("rois", "");
	suffix = option("suffix", suffix);
	radius = option("radius", radius);
	out = option("out", "");
}
if (images == "") return "" + stop("images: nothing named (expected an image or a folder of images). Name one.");
if (out == "") return "" + stop("out: nothing named (expected the folder for the results). Name one.");
if (!File.exists(images)) return "" + stop(images + ": no such file or folder (expected an image or a folder of images). Check the path.");
if (radius != "none" && !(parseFloat(radius) > 0)) return "" + stop("radius: not a radius (got " + radius + ", expected a number of px above 0, or none). Correct it.");
if (!headless) {
	if (rois == "") return "" + stop("rois: nothing named (expected a ROI set or a folder of ROI sets). Name one.");
	if (!File.exists(rois)) return "" + stop(rois + ": no such file or folder (expected a ROI set or a folder of ROI sets). Check the path.");
}

// Which image is measured with which ROI set, and where the results go: all of it is known before anything is opened.
one = !File.isDirectory(images);
if (one) {
	root = folder(File.getParent(images));
	files = newArray(1);
	files[0] = File.getName(images);
} else {
	root = folder(images);
	files = imageFiles(root, "");
	if (files.length == 0) return "" + stop(images + ": no images in it whose name ends in " + suffix + ". Check the folder and the ending.");
}
zips = newArray(files.length);
for (i = 0; i < files.length; i++) {
	if (!headless) {
		zips[i] = roiSetOf(files[i], one);
		if (startsWith(zips[i], "Error: ")) return "" + stop(substring(zips[i], 7));
	}
	target = resultsOf(files[i]);
	if (File.exists(target)) return "" + stop(target + ": is there already. It is not overwritten: move it elsewhere, or name another folder.");
	condition = conditionOf(files[i]);
	target = "" + folder(out) + condition + ".csv";
	if (condition != "" && File.exists(target)) return "" + stop(target + ": is there already. It is not overwritten: move it elsewhere, or name another folder.");
}

if (!headless) {
	if (roiManager("count") > 0 && args == "") showMessageWithCancel("Measure with ROI sets", "The ROI Manager holds " + roiManager("count") + " ROIs. They are removed from it.");
	roiManager("reset");
	if (isOpen("Results") && nResults > 0) Table.rename("Results", "Results before");
}
setBatchMode(true);
total = 0;
for (i = 0; i < files.length; i++) {
	showStatus("Measuring " + (i + 1) + " of " + files.length);
	showProgress(i, files.length);
	said = measureImage(root + files[i], zips[i], resultsOf(files[i]));
	if (startsWith(said, "Error: ")) return "" + stop(substring(said, 7));
	total = total + parseInt(said);
}
if (!one) {
	said = joinConditions(files);
	if (startsWith(said, "Error: ")) return "" + stop(substring(said, 7));
}
setBatchMode(false);
said = "OK: " + files.length + " images, " + total + " ROIs measured. Results in " + out;
showStatus(said);
if (returns) return said;


// Measures one image; returns the number of ROIs, or "Error: ...".
function measureImage(path, zip, target) {
	before = nImages;
	open(path);
	if (nImages == before) return "Error: " + path + ": could not be opened as an image. Check the file.";
	problem = "";
	if (nSlices > 1) problem = "a stack (got " + nSlices + " planes, expected 1). Save the plane that is to be measured.";
	else if (bitDepth() == 24) problem = "a colour image (expected grey levels). Save the channel that is to be measured.";
	else if (headless && Overlay.size == 0) problem = "has no ROIs as its overlay (expected them: without a window ImageJ opens no ROI set). Write it with: cellpose-fiji measure --overlay-tiff";
	if (problem != "") {
		close();
		return "Error: " + path + ": " + problem;
	}
	// A resolution in inch is a printer's: the bridge, too, takes such an image as not calibrated.
	getPixelSize(unit, x, y);
	if (startsWith(unit, "inch")) setVoxelSize(1, 1, 1, "pixel");
	if (radius != "none") run("Subtract Background...", "rolling=" + radius);
	run("Set Measurements...", "area mean standard min centroid integrated display redirect=None decimal=3");
	if (headless) {
		n = Overlay.size;
		Overlay.measure;
	} else {
		n = 0;
		// An empty ROI set is a valid one: 22 bytes, the end of a zip.
		if (File.length(zip) > 22) {
			roiManager("reset");
			roiManager("open", zip);
			n = roiManager("count");
			problem = outside(zip);
		}
		if (problem != "") {
			close();
			return "Error: " + problem;
		}
		run("Clear Results");
		if (n > 0) {
			roiManager("deselect");
			roiManager("measure");
		}
	}
	close();
	rows = nResults;
	if (rows != n) return "Error: " + path + ": not every ROI was measured (got " + rows + " rows, expected " + n + "). Nothing was saved.";
	makeFolders(File.getParent(target));
	part = target + ".part.csv";
	if (n == 0) File.saveString(" ,Label,Area,Mean,StdDev,Min,Max,X,Y,IntDen,RawIntDen\n", part);
	else {
		saveAs("Results", part);
		run("Clear Results");
		if (!startsWith(File.openAsString(part), " ,Label,Area,Mean,StdDev,Min,Max,X,Y,IntDen,RawIntDen")) {
			ok = File.delete(part);
			return "Error: " + path + ": the Results file has other columns than expected. Switch on 'Save column headers' and 'Save row numbers' in Edit > Options > Input/Output.";
		}
	}
	ok = File.rename(part, target);
	if (!File.exists(target)) return "Error: " + target + ": could not be written. Check the folder and the disk.";
	return "" + n;
}

// ImageJ moves a ROI that lies outside the image to its middle and measures it there: such a set is refused.
function outside(zip) {
	run("From ROI Manager");
	said = "";
	for (j = 0; j < Overlay.size; j++) {
		Overlay.getBounds(j, x, y, w, h);
		if (x < 0 || y < 0 || x + w > getWidth() || y + h > getHeight()) {
			said = zip + ": ROI " + (j + 1) + " reaches beyond the image " + getTitle() + " (got " + (x + w) + " x " + (y + h) + ", expected " + getWidth() + " x " + getHeight() + " px at most). Use the ROI set of this image.";
			j = Overlay.size;
		}
	}
	Overlay.remove;
	return said;
}

// One file per condition: the rows of all its images, numbered through.
function joinConditions(files) {
	done = "\n";
	for (j = 0; j < files.length; j++) {
		condition = conditionOf(files[j]);
		if (condition != "" && indexOf(done, "\n" + condition + "\n") < 0) {
			done = done + condition + "\n";
			text = "";
			number = 0;
			for (m = j; m < files.length; m++) {
				other = conditionOf(files[m]);
				if (other == condition) {
					lines = split(File.openAsString(resultsOf(files[m])), "\n");
					if (text == "") text = lines[0] + "\n";
					for (r = 1; r < lines.length; r++) {
						number++;
						text = text + number + substring(lines[r], indexOf(lines[r], ",")) + "\n";
					}
				}
			}
			target = "" + folder(out) + condition + ".csv";
			File.saveString(text, target + ".part.csv");
			ok = File.rename(target + ".part.csv", target);
			if (!File.exists(target)) return "Error: " + target + ": could not be written. Check the folder and the disk.";
		}
	}
	return "";
}

function roiSetOf(file, one) {
	if (!File.isDirectory(rois)) {
		if (one) return rois;
		return "Error: " + rois + ": one ROI set for a folder of images (expected a folder of ROI sets). Name the folder.";
	}
	name = File.getName(file);
	if (endsWith(name, suffix)) name = substring(name, 0, lengthOf(name) - lengthOf(suffix));
	else name = substring(name, 0, lastIndexOf(name, "."));
	condition = conditionOf(file);
	if (condition == "") below = folder(rois);
	else below = "" + folder(rois) + condition + File.separator;
	plain = below + name + "_RoiSet.zip";
	first = condition;
	if (indexOf(condition, "/") > 0) first = substring(condition, 0, indexOf(condition, "/"));
	long = "" + folder(rois) + plainName(first) + File.separator + plainName(condition) + "_" + plainName(name) + "_RoiSet.zip";
	if (condition != "" && File.exists(plain) && File.exists(long)) return "Error: " + file + ": two ROI sets fit (" + File.getName(plain) + " and " + File.getName(long) + "). Move one elsewhere.";
	if (File.exists(plain)) return plain;
	if (condition != "" && File.exists(long)) return long;
	return "Error: " + file + ": has no ROI set (expected " + plain + "). Make it first, or name another folder of ROI sets.";
}

// A name as the bridge writes it into file names.
function plainName(text) {
	said = "";
	for (j = 0; j < lengthOf(text); j++) {
		letter = substring(text, j, j + 1);
		if (matches(letter, "[\\p{L}\\p{N}_.+,=()-]")) said = said + letter;
		else if (!endsWith(said, "\n")) said = said + "\n";
	}
	return replace(said, "\n", "_");
}

// The folder an image lies in, below the folder of images; empty where there is none.
function conditionOf(file) {
	i = lastIndexOf(file, "/");
	if (i < 0) return "";
	return substring(file, 0, i);
}

function resultsOf(file) {
	name = substring(file, 0, lastIndexOf(file, "."));
	return "" + folder(out) + name + "_Results.csv";
}

// The measured images below a folder, as paths relative to it.
function imageFiles(root, below) {
	found = newArray(0);
	names = getFileList(root + below);
	for (j = 0; j < names.length; j++) {
		if (endsWith(names[j], "/")) {
			inside = imageFiles(root, below + names[j]);
			found = Array.concat(found, inside);
		} else if (endsWith(names[j], suffix)) found = Array.concat(found, below + names[j]);
	}
	return found;
}

function folder(path) {
	if (endsWith(path, "/") || endsWith(path, File.separator)) return path;
	return path + File.separator;
}

function makeFolders(path) {
	if (File.isDirectory(path)) return;
	makeFolders(File.getParent(path));
	File.makeDirectory(path);
}

// One value of the arguments: name=[value], or name=value where it has no space.
function option(name, otherwise) {
	begin = indexOf(" " + args, " " + name + "=");
	if (begin < 0) return otherwise;
	begin = begin + lengthOf(name) + 1;
	value = substring(args, begin);
	if (startsWith(value, "[")) return substring(value, 1, indexOf(value + "]", "]"));
	return substring(value, 0, indexOf(value + " ", " "));
}

// Says what is wrong: what the macro returns if it was given arguments, else a message, and the end of the macro.
function stop(text) {
	setBatchMode(false);
	if (returns) {
		print("Error: " + text);
		return "Error: " + text;
	}
	if (args != "") {
		// The macro whose run(...) this was ends as well.
		print("Error: " + text);
		call("ij.IJ.error", "Measure with ROI sets", text);
	} else showMessage("Measure with ROI sets", text);
	exit;
}
